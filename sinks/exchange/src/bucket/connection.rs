//! Where a bucket is, and who we are to its store.

use std::sync::Arc;
use std::time::Duration;

use engine::Fault;
use engine::connector::{Findings, Setup};
use engine::options::{Period, Secret};
use object_store::aws::AmazonS3Builder;
use object_store::{RetryConfig, path::Path};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Bucket;
use super::client::Connector;
use crate::target::{Clients, Target, Tls};
use crate::verdict::texts_to_hide;

/// A bucket of Amazon S3, or of a store that speaks its protocol: MinIO, Ceph, R2 and their like.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Connection {
    /// The bucket, which must be there.
    pub bucket: String,
    /// The folder in it where everything of this connection lies, `analytics/lake`; without it, the
    /// whole bucket.
    #[serde(default)]
    pub folder: Option<String>,
    /// The store's region, such as `eu-west-3`; what stores other than Amazon's are told matters to few
    /// of them.
    #[serde(default = "Connection::default_region")]
    pub region: String,
    /// The address of a store that is not Amazon's: `https://minio.example.com:9000`. The bucket's name
    /// is put after it, never before its host.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The access key's name (its id): `"${S3_ACCESS_KEY}"`.
    pub access_key: Secret,
    /// The access key itself: `"${S3_SECRET_KEY}"`.
    pub secret_key: Secret,
    /// The token of an access key that is given for a while.
    #[serde(default)]
    pub session_token: Option<Secret>,
    /// Whether the store refuses to replace an object when it is asked to (`If-None-Match: *`), as
    /// Amazon S3, MinIO, Ceph and R2 do: that keeps two processes apart that write at once, one of which
    /// has lost its partition and does not know yet. With `false`, only a look beforehand does.
    #[serde(default = "Connection::yes")]
    pub conditional_put: bool,
    /// Lets the connection reach private, loopback and other addresses that are not of the public
    /// internet. Without it a name that resolves to one is refused.
    #[serde(default)]
    pub allow_private: bool,
    /// How long one request may take; of a file that is read, how long the next bytes may.
    #[serde(default = "Connection::default_timeout")]
    pub timeout: Period,
    /// TLS beyond the certificates that the system trusts.
    #[serde(default)]
    pub tls: Tls,
}

impl Connection {
    fn default_region() -> String {
        "us-east-1".to_owned()
    }

    fn yes() -> bool {
        true
    }

    fn default_timeout() -> Period {
        Period(Duration::from_secs(60))
    }

    fn target(&self) -> Target {
        let amazon = || format!("https://s3.{}.amazonaws.com", self.region);
        let endpoint = self.endpoint.as_ref().map(|url| url.trim().trim_end_matches('/'));
        Target {
            url: endpoint.map_or_else(amazon, str::to_owned),
            allow_private: self.allow_private,
            timeout: self.timeout,
            tls: self.tls.clone(),
        }
    }

    /// The folder as keys begin with it; none for the whole bucket.
    fn root(&self) -> Result<Option<Path>, String> {
        let Some(folder) = self.folder.as_deref().filter(|folder| !folder.is_empty()) else {
            return Ok(None);
        };
        Path::parse(folder).map(Some).map_err(|_| {
            format!("`{folder}` is no folder of a bucket: a part of it is empty, `.` or `..`.")
        })
    }

    /// Looks for mistakes in the connection's section.
    pub fn check(&self, findings: &mut Findings) {
        if self.bucket.is_empty() || self.bucket.contains(['/', ':', '?', '#', ' ']) {
            let cause = format!("`{}` is no bucket's name.", self.bucket);
            let hint = "Write the name alone; the store's address belongs in `endpoint`, a folder in \
                        `folder`.";
            findings.connection("/bucket", "bucket_invalid", cause, hint);
        }
        if let Err(cause) = self.target().base() {
            let (option, hint) = match &self.endpoint {
                Some(_) => ("endpoint", "Write https://host:port."),
                None => ("region", "Write the region's short name, such as `eu-west-3`."),
            };
            let cause = cause.replace("`url`", &format!("`{option}`"));
            findings.connection(&format!("/{option}"), "endpoint_invalid", cause, hint);
        }
        if let Err(cause) = self.root() {
            findings.connection("/folder", "folder_invalid", cause, "Write `analytics/lake`.");
        }
        for (option, key) in [("access_key", &self.access_key), ("secret_key", &self.secret_key)] {
            let key = key.reveal();
            if key.is_empty() || key.contains(char::is_whitespace) {
                let cause = format!("The `{option}` is empty, or holds a space or a line break.");
                let hint = "Look for a line break at the end of the secret's file.";
                findings.connection(&format!("/{option}"), "key_invalid", cause, hint);
            }
        }
        self.target().check_beyond_url(findings);
    }

    /// The bucket. Opens no connection.
    ///
    /// # Errors
    /// A `Config` fault when it cannot be used.
    pub fn open(&self, setup: &Setup) -> Result<Bucket, Fault> {
        let target = self.target();
        let base = target.base().map_err(|cause| Fault::config("endpoint", cause))?;
        let client = setup.shared.get::<Clients>().get(&target, &base)?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_endpoint(&target.url)
            .with_allow_http(base.scheme() == "http")
            .with_access_key_id(self.access_key.reveal())
            .with_secret_access_key(self.secret_key.reveal())
            // The route tries again, and says meanwhile why it waits. One request that is one
            // request also leaves no doubt what an answer answers.
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(Connector(client));
        let mut secrets = vec![self.secret_key.clone()];
        if let Some(token) = &self.session_token {
            builder = builder.with_token(token.reveal());
            secrets.push(token.clone());
        }
        let store = builder.build().map_err(|error| {
            Fault::config(
                "bucket",
                format!("The bucket `{}` cannot be used: {error}.", self.bucket),
            )
        })?;
        let root = self.root().map_err(|cause| Fault::config("folder", cause))?;
        let shown =
            format!("the bucket `{}` of {}", self.bucket, base.origin().ascii_serialization());
        Ok(Bucket {
            store: Arc::new(store),
            root,
            shown,
            secrets: texts_to_hide(&base, &secrets),
            timeout: self.timeout.0,
            conditional: self.conditional_put,
        })
    }
}
