//! Where the brokers, the registry and the operators' address of the running process are: written to
//! its data directory, read by the other commands.

use std::path::{Path, PathBuf};

use engine::configuration::Pipeline;
use engine::kafka::Cluster;
use schemas::registry::{Registry, RegistryConfig};
use serde::{Deserialize, Serialize};

use crate::arguments::Address;
use crate::failure::Failure;

const FILE: &str = "addresses.json";

/// The data directories in which a command looks for a running process.
const USUAL: [&str; 2] = ["passerelle-data", "passerelle-demo"];

/// The addresses of a running process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The brokers, `host:port,…`.
    pub kafka: String,
    /// The registry's URL.
    pub registry: String,
    /// The operators' address.
    pub admin: Option<String>,
}

impl Addresses {
    /// Writes the addresses into the data directory.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write(&self, data: &Path) -> Result<(), Failure> {
        let file = data.join(FILE);
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        std::fs::create_dir_all(data).and_then(|()| std::fs::write(&file, text)).map_err(|error| {
            Failure::new(format!("The addresses cannot be written to {}: {error}.", file.display()))
        })
    }

    /// Takes the addresses away again at a clean stop; those left by a crash are overwritten.
    pub fn remove(data: &Path) {
        let _ = std::fs::remove_file(data.join(FILE));
    }

    fn read(data: &Path) -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(data.join(FILE)).ok()?).ok()
    }

    /// The addresses that a command is told, or finds.
    ///
    /// # Errors
    /// Nothing is told and no process runs here.
    pub fn resolve(told: &Address) -> Result<Self, Failure> {
        let directories = match &told.data {
            Some(data) => vec![data.clone()],
            None => USUAL.iter().map(PathBuf::from).collect(),
        };
        let found = directories.iter().find_map(|data| Self::read(data));
        let addresses = match (&told.kafka, &told.registry, found) {
            (Some(kafka), registry, found) => Self {
                kafka: kafka.clone(),
                registry: registry
                    .clone()
                    .or(found.map(|found| found.registry))
                    .unwrap_or_default(),
                admin: None,
            },
            (None, Some(registry), Some(found)) => Self { registry: registry.clone(), ..found },
            (None, Some(registry), None) => {
                Self { kafka: String::new(), registry: registry.clone(), admin: None }
            }
            (None, None, Some(found)) => found,
            (None, None, None) => {
                let looked = directories
                    .iter()
                    .map(|data| data.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ");
                return Err(Failure::new(format!(
                    "No running process was found (looked in: {looked}). Start one with `passerelle run FILE`, name its data directory with --data, or name the brokers with --kafka."
                )));
            }
        };
        Ok(addresses)
    }

    /// The brokers.
    ///
    /// # Errors
    /// They are not known.
    pub fn kafka(&self) -> Result<&str, Failure> {
        known(&self.kafka, "The brokers are", "--kafka host:port")
    }

    /// The registry's URL.
    ///
    /// # Errors
    /// It is not known.
    pub fn registry(&self) -> Result<&str, Failure> {
        known(&self.registry, "The registry is", "--registry http://host:port")
    }

    /// The operators' address.
    ///
    /// # Errors
    /// It is not known.
    pub fn admin(&self) -> Result<&str, Failure> {
        known(
            self.admin.as_deref().unwrap_or_default(),
            "The operators' address is",
            "--data with the data directory of the running process",
        )
    }
}

/// The brokers that a pipeline's file names, unless the command is told others; else those of the
/// process that runs with the same data.
///
/// # Errors
/// No such process runs.
pub fn cluster(pipeline: Option<&Pipeline>, told: &Address) -> Result<Cluster, Failure> {
    match (pipeline.and_then(Pipeline::cluster), &told.kafka) {
        (Some(cluster), None) => Ok(cluster),
        _ => Ok(Cluster::new(beside(pipeline, told)?.kafka()?)),
    }
}

/// The schema registry, likewise.
///
/// # Errors
/// No such process runs, or the registry is refused.
pub fn registry(pipeline: &Pipeline, told: &Address) -> Result<Registry, Failure> {
    let config = match (pipeline.registry_config(), &told.registry) {
        (Some(config), None) => config,
        _ => RegistryConfig::new(beside(Some(pipeline), told)?.registry()?),
    };
    Registry::new(config).map_err(|error| Failure::new(error.to_string()))
}

/// The addresses of the process that runs with the pipeline's data.
fn beside(pipeline: Option<&Pipeline>, told: &Address) -> Result<Addresses, Failure> {
    let data = told.data.clone().or_else(|| pipeline.map(|pipeline| pipeline.data.clone()));
    Addresses::resolve(&Address { data, ..told.clone() })
}

fn known<'a>(address: &'a str, what: &str, option: &str) -> Result<&'a str, Failure> {
    match address {
        "" => Err(Failure::new(format!("{what} not known: give {option}."))),
        address => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(data: &Path) -> Address {
        Address { kafka: None, registry: None, data: Some(data.to_owned()) }
    }

    #[test]
    fn a_command_finds_the_process_that_runs_with_the_same_data() {
        let data = tempfile::tempdir().unwrap();
        assert!(
            Addresses::resolve(&told(data.path()))
                .is_err_and(|failure| failure.0.contains("--kafka"))
        );
        let addresses = Addresses {
            kafka: "127.0.0.1:9092".into(),
            registry: "http://127.0.0.1:8081".into(),
            admin: None,
        };
        addresses.write(data.path()).unwrap();
        assert_eq!(Addresses::resolve(&told(data.path())).unwrap(), addresses);
        let elsewhere = Address { kafka: Some("k:1".into()), ..told(data.path()) };
        assert_eq!(Addresses::resolve(&elsewhere).unwrap().kafka, "k:1");
        Addresses::remove(data.path());
        assert!(Addresses::resolve(&told(data.path())).is_err());
    }
}
