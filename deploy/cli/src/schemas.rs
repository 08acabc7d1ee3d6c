//! `passerelle schemas`: what the registry holds, what it would take.

use std::path::Path;
use std::process::ExitCode;

use schemas::Schema;
use schemas::registry::{Registry, RegistryConfig, Verdict};

use crate::addresses::Addresses;
use crate::arguments::{Address, Sample, SchemaFile, Schemas};
use crate::failure::{Failure, Outcome};

/// Runs one of the commands on schemas.
pub async fn run(command: Schemas) -> Outcome {
    match command {
        Schemas::List(address) => list(&address).await,
        Schemas::Check(file) => check(&file).await,
        Schemas::Register(file) => register(&file).await,
        Schemas::Infer(sample) => infer(&sample),
    }
}

fn client(address: &Address) -> Result<Registry, Failure> {
    let addresses = Addresses::resolve(address)?;
    Registry::new(RegistryConfig::new(addresses.registry()?))
        .map_err(|error| Failure::new(error.to_string()))
}

fn read(file: &Path) -> Result<Schema, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(format!("The schema {} cannot be read: {error}.", file.display()))
    })?;
    Schema::parse(&text)
        .map_err(|error| Failure::new(format!("{} is not an Avro schema: {error}", file.display())))
}

async fn list(address: &Address) -> Outcome {
    let registry = client(address)?;
    let failed = |error: schemas::registry::RegistryError| Failure::new(error.to_string());
    let subjects = registry.subjects().await.map_err(failed)?;
    let width = subjects.iter().map(String::len).max().unwrap_or_default().max("SUBJECT".len());
    say!("{:width$}  VERSION  ID      COMPATIBILITY        NAME", "SUBJECT");
    for subject in subjects {
        let latest = registry.latest(&subject).await.map_err(failed)?;
        let level = registry.compatibility_level(&subject).await.map_err(failed)?;
        say!(
            "{subject:width$}  {:<7}  {:<6}  {:<19}  {}",
            latest.version,
            latest.id,
            level.to_string(),
            latest.schema.fullname().unwrap_or_default()
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn check(file: &SchemaFile) -> Outcome {
    let (registry, schema) = (client(&file.address)?, read(&file.schema)?);
    match registry
        .check(&file.subject, &schema)
        .await
        .map_err(|error| Failure::new(error.to_string()))?
    {
        Verdict::Compatible => {
            say!("{} may become the next version of {}.", file.schema.display(), file.subject);
            Ok(ExitCode::SUCCESS)
        }
        Verdict::Incompatible(reasons) => {
            say!("{} may not become the next version of {}:", file.schema.display(), file.subject);
            reasons.iter().for_each(|reason| say!("  - {reason}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn register(file: &SchemaFile) -> Outcome {
    let (registry, schema) = (client(&file.address)?, read(&file.schema)?);
    let id = registry
        .register(&file.subject, &schema)
        .await
        .map_err(|error| Failure::new(error.to_string()))?;
    say!("{} is registered under {} with the id {id}.", file.schema.display(), file.subject);
    Ok(ExitCode::SUCCESS)
}

fn infer(sample: &Sample) -> Outcome {
    let stem = || sample.from.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = sample.name.clone().unwrap_or_else(stem);
    let proposal = producers::file::infer(&sample.from, &name)?;
    say!("{}", proposal.schema);
    for doubt in proposal.doubts {
        eprintln!("unsure: {doubt}.");
    }
    Ok(ExitCode::SUCCESS)
}
