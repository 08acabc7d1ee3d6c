//! Sections of a file as what clients are made from.

use std::collections::BTreeMap;
use std::path::Path;

use schemas::registry::{Auth, RegistryConfig};

use super::sections::{Kafka, Mechanism, Registry};
use crate::kafka::Cluster;
use crate::options::Property;

impl Kafka {
    /// The cluster; relative paths of certificates start at `folder`.
    pub fn cluster(&self, folder: &Path) -> Cluster {
        Cluster { brokers: self.brokers.clone(), properties: self.client_properties(folder) }
    }

    /// librdkafka's settings (CONFIGURATION.md of librdkafka 2).
    fn client_properties(&self, folder: &Path) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        let mut set = |name: &str, value: &str| all.insert(name.to_owned(), value.to_owned());
        let tls = self.security.tls.as_ref();
        let sasl = self.security.sasl.as_ref();
        match (tls.is_some(), sasl.is_some()) {
            (true, true) => drop(set("security.protocol", "sasl_ssl")),
            (true, false) => drop(set("security.protocol", "ssl")),
            (false, true) => drop(set("security.protocol", "sasl_plaintext")),
            (false, false) => {}
        }
        if let Some(tls) = tls {
            let files = [
                ("ssl.ca.location", &tls.ca),
                ("ssl.certificate.location", &tls.certificate),
                ("ssl.key.location", &tls.key),
            ];
            for (name, path) in files {
                if let Some(path) = path {
                    set(name, &folder.join(path).display().to_string());
                }
            }
            if let Some(password) = &tls.key_password {
                set("ssl.key.password", password.reveal());
            }
        }
        if let Some(sasl) = sasl {
            let mechanism = match sasl.mechanism {
                Mechanism::Plain => "PLAIN",
                Mechanism::ScramSha256 => "SCRAM-SHA-256",
                Mechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            set("sasl.mechanism", mechanism);
            set("sasl.username", &sasl.username);
            set("sasl.password", sasl.password.reveal());
        }
        let further = self.properties.iter();
        all.extend(further.map(|(name, Property(value))| (name.clone(), value.clone())));
        all
    }
}

impl Registry {
    /// The registry, without a folder of schemas.
    pub fn config(&self) -> RegistryConfig {
        RegistryConfig { auth: auth(self), ..RegistryConfig::new(self.url.clone()) }
    }
}

fn auth(registry: &Registry) -> Auth {
    match (&registry.username, &registry.password, &registry.bearer) {
        (_, _, Some(token)) => Auth::Bearer(token.reveal().to_owned()),
        (Some(user), password, None) => Auth::Basic {
            user: user.clone(),
            password: password
                .as_ref()
                .map(|secret| secret.reveal().to_owned())
                .unwrap_or_default(),
        },
        _ => Auth::None,
    }
}
