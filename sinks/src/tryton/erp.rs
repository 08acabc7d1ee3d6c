//! An ERP, by whichever of its two interfaces the connection's credentials open.

use engine::Fault;
use engine::connector::Setup;
use engine::options::Secret;
use exchange::Exchange;
use serde_json::{Value as Json, json};

use super::Connection;
use super::failure::Failure;
use super::rest::{self, Id, Rest};
use super::rpc::Rpc;
use super::session::Login;

/// A way to the records of an ERP. Cheap to clone.
#[derive(Clone)]
pub(super) enum Erp {
    /// With a key: a record at a time.
    Rest(Rest),
    /// With a user and a password: many records in one transaction.
    Rpc(Rpc),
}

impl Erp {
    /// The ERP of a connection. Opens no connection.
    ///
    /// # Errors
    /// A `Config` fault when the connection cannot be used.
    pub(super) fn of(connection: &Connection, setup: &Setup) -> Result<Self, Fault> {
        let exchange = |secret| Exchange::new(&connection.target, &[secret], setup);
        match (&connection.key, connection.user.clone().zip(connection.password.clone())) {
            (Some(key), None) => {
                let authorization = rest::authorization(key.reveal()).ok_or_else(|| {
                    let message = "The ERP's key holds a character that a header cannot carry.";
                    Fault::config("key", message)
                })?;
                let key = Secret::new(key.reveal().trim());
                Ok(Self::Rest(Rest::new(exchange(key)?, authorization)))
            }
            (None, Some((user, password))) => {
                Ok(Self::Rpc(Rpc::new(exchange(password.clone())?, Login::new(user, password))))
            }
            _ => Err(Fault::config(
                "credentials",
                "The ERP's connection needs a `key`, or a `user` and a `password`.",
            )),
        }
    }

    /// Scheme, host and port: all of the address that may be shown.
    pub(super) fn origin(&self) -> &str {
        match self {
            Self::Rest(rest) => rest.origin(),
            Self::Rpc(rpc) => rpc.origin(),
        }
    }

    /// The same, seen by a company: terms and accounts differ between companies.
    pub(super) fn of_company(&self, company: Id) -> Self {
        match self {
            Self::Rest(rest) => Self::Rest(rest.of_company(company)),
            Self::Rpc(rpc) => Self::Rpc(rpc.of_company(company)),
        }
    }

    /// How many records one call takes, of those that a route wants to give it.
    pub(super) fn at_once(&self, wanted: usize) -> usize {
        match self {
            Self::Rest(_) => 1,
            Self::Rpc(_) => wanted,
        }
    }

    /// The records of `model` in `domain`, at most `most`, the first made first.
    ///
    /// # Errors
    /// What was asked does not depend on the event, so a refusal is the whole route's.
    pub(super) async fn search(
        &self,
        model: &str,
        domain: &Json,
        fields: &[&str],
        most: usize,
    ) -> Result<Vec<Json>, Fault> {
        let found = match self {
            Self::Rest(rest) => rest.search(model, domain, fields, most).await,
            Self::Rpc(rpc) => rpc.search(model, domain, fields, most).await,
        };
        found.map_err(|failure| match failure {
            Failure::Refused { said, .. } => Fault::refused("tryton_access", said),
            Failure::Missing(fault) => Fault::refused(fault.cause, fault.message),
            failure => failure.into(),
        })
    }

    /// What the fields of a model are, by name.
    ///
    /// # Errors
    /// As those of [`search`](Self::search): there is no event.
    pub(super) async fn fields_of(&self, model: &str) -> Result<Json, Fault> {
        let told = match self {
            Self::Rest(rest) => rest.fields_of(model).await,
            Self::Rpc(rpc) => rpc.call(&format!("model.{model}.fields_get"), json!([null])).await,
        };
        told.map_err(|failure| rest::not_of_an_event(failure.into()))
    }

    /// Creates all of these records, or none, and reads these fields of them. (By REST there is one.)
    pub(super) async fn create(
        &self,
        model: &str,
        records: &[Json],
        fields: &[&str],
    ) -> Result<Vec<Json>, Failure> {
        match self {
            Self::Rest(rest) => {
                let mut created = Vec::new();
                for record in records {
                    created.push(rest.create(model, record, fields).await?);
                }
                Ok(created)
            }
            Self::Rpc(rpc) => {
                let ids = rpc.create(model, records).await?;
                rpc.read(model, &ids, fields).await.map_err(after_the_write)
            }
        }
    }

    /// Creates a record and reads these fields of it.
    pub(super) async fn create_one(
        &self,
        model: &str,
        record: Json,
        fields: &[&str],
    ) -> Result<Json, Failure> {
        let created = self.create(model, &[record], fields).await?.pop();
        created.ok_or_else(|| Fault::remote("tryton_answer", "The ERP created nothing.").into())
    }

    /// Calls a button of all of these records, or of none, and reads these fields of them. (By REST
    /// there is one.)
    pub(super) async fn press(
        &self,
        model: &str,
        ids: &[Id],
        button: &str,
        fields: &[&str],
    ) -> Result<Vec<Json>, Failure> {
        match self {
            Self::Rest(rest) => {
                let mut pressed = Vec::new();
                for id in ids {
                    pressed.push(rest.press(model, *id, button, fields).await?);
                }
                Ok(pressed)
            }
            Self::Rpc(rpc) => {
                rpc.call(&format!("model.{model}.{button}"), json!([ids])).await?;
                rpc.read(model, ids, fields).await.map_err(after_the_write)
            }
        }
    }
}

/// What was written stays written when reading it back fails, whatever the reason: the events are
/// tried again, and find it.
fn after_the_write(failure: Failure) -> Failure {
    let fault = Fault::from(failure);
    match fault.domain {
        engine::Domain::Data => Fault::refused("tryton_access", fault.message).into(),
        _ => fault.unknown().into(),
    }
}
