//! The real parts that the journey needs.

use std::path::PathBuf;

/// Where the real parts are.
pub struct Surroundings {
    /// A broker of Apache Kafka, `host:port`.
    pub kafka: String,
    /// The folder of a running Tryton, as `tests/erp/erp` makes it.
    pub erp: PathBuf,
    /// A database of a real PostgreSQL, as `postgres://…`.
    pub postgres: String,
    /// A Python that has localstripe, aiosmtpd and pyarrow.
    pub python: PathBuf,
}

impl Surroundings {
    /// What the environment names; without it the test says loudly that it did not run.
    pub fn find() -> Option<Self> {
        let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let found = (
            named("PASSERELLE_TEST_KAFKA"),
            named("PASSERELLE_TEST_ERP"),
            named("PASSERELLE_TEST_POSTGRES"),
            named("PASSERELLE_PYTHON"),
        );
        match found {
            (Some(kafka), Some(erp), Some(postgres), Some(python)) => {
                Some(Self { kafka, erp: erp.into(), postgres, python: python.into() })
            }
            _ => {
                eprintln!(
                    "SKIPPED: the journey needs a real Kafka, a real Tryton, a real PostgreSQL and localstripe: \
                     `just journey` starts them and runs it."
                );
                None
            }
        }
    }
}
