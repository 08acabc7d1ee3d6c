//! Whether an application is there, learnt without asking it for anything: hooks act on any request.

use engine::Fault;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::{Exchange, guard};

impl Exchange {
    /// Connects to the application and asks for nothing; with OAuth 2.0, has a token given. Tells what
    /// that proves.
    ///
    /// # Errors
    /// It cannot be reached, or no token can be had.
    pub async fn reach(&self) -> Result<String, Fault> {
        let origin = self.origin();
        let reached = timeout(self.timeout, self.open()).await;
        reached.map_err(|_| {
            let message = format!("{origin} cannot be reached within {:?}.", self.timeout);
            Fault::remote("http_connect", message)
        })??;
        Ok(match &self.tokens {
            Some(tokens) => {
                tokens.current().await?;
                format!(
                    "{origin} is reached, and a token was given; whether it takes what is sent, only a write tells"
                )
            }
            None => {
                format!("{origin} is reached; whether it takes our credentials, only a write tells")
            }
        })
    }

    async fn open(&self) -> Result<(), Fault> {
        let origin = self.origin();
        let failed = |cause: String| {
            Fault::remote("http_connect", format!("{origin} cannot be reached: {cause}."))
        };
        let host = self.base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.base.port_or_known_default().unwrap_or(443);
        let found = lookup_host((host, port)).await.map_err(|error| failed(error.to_string()))?;
        let addresses = match self.private {
            true => found.collect(),
            false => guard::keep_public(host, found).map_err(|refused| {
                let advice = "If it is yours, write `allow_private: true` in the connection";
                Fault::refused("address_refused", format!("{origin}: {refused}. {advice}."))
            })?,
        };
        let stream = TcpStream::connect(addresses.as_slice()).await;
        stream.map(drop).map_err(|error| failed(error.to_string()))
    }
}
