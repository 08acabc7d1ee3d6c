//! What a server's refusal means, by its code (PostgreSQL's documentation, Appendix A).

use std::error::Error;
use std::fmt::Display;

use engine::Fault;

/// As tokio-postgres says it.
const NO_PASSWORD: &str = "password missing";

/// What a server said, or why nothing came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The SQLSTATE, five characters; `None` when no answer came.
    pub code: Option<String>,
    /// The message, with its detail and hint.
    pub message: String,
}

impl Said {
    /// What tokio-postgres tells of it.
    pub fn of(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(said) => {
                let parts = [Some(said.message()), said.detail(), said.hint()];
                let message = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
                Self { code: Some(said.code().code().to_owned()), message }
            }
            None => {
                let first: &(dyn Error + 'static) = error;
                let last = std::iter::successors(Some(first), |&error| error.source()).last();
                Self::nothing(&last.unwrap_or(first))
            }
        }
    }

    /// No answer came, and why not.
    pub fn nothing(error: &dyn Display) -> Self {
        Self { code: None, message: error.to_string() }
    }

    /// The server wants a password, and there is none.
    pub fn no_password() -> Self {
        Self::nothing(&NO_PASSWORD)
    }
}

/// The fault of something that failed. `doing` is what was being done, and where: `Reading
/// public.orders in db.example:5432/shop`.
pub fn fault_of(doing: &str, said: &Said) -> Fault {
    let Said { code, message } = said;
    let Some(code) = code else {
        let message = format!("{doing} got no answer: {message}.");
        return Fault::remote("postgres_cut", message).unknown();
    };
    let cure = match code.as_str() {
        "28P01" => "; check the connection's user and `password`",
        "28000" => "; check the connection's user, and that the server's pg_hba.conf lets it in",
        _ => "",
    };
    let message =
        format!("{doing} was refused: {} (SQLSTATE {code}){cure}.", message.trim_end_matches('.'));
    match (code.get(..2).unwrap_or_default(), code.as_str()) {
        ("28", _) => Fault::refused("postgres_login", message),
        (_, "3D000") => Fault::refused("postgres_database", message),
        (_, "42501") => Fault::refused("postgres_permission", message),
        // The value itself: a conversion that fails, a constraint that it breaks.
        ("22" | "23", _) => Fault::data("postgres_value", message),
        // What the statement names is not there, or not so.
        ("42" | "3F", _) => Fault::refused("postgres_statement", message),
        // A deadlock, a serialization failure, a lack of something, a server that starts or ends.
        ("40" | "53" | "55" | "57" | "58", _) => Fault::remote("postgres_busy", message),
        ("08", _) => Fault::remote("postgres_cut", message).unknown(),
        _ => Fault::remote("postgres_refused", message),
    }
}

/// The fault of a log-in that failed. Nothing was done, so no outcome is unknown.
pub fn login_failed(shown: &str, user: &str, said: &Said) -> Fault {
    let doing = format!("The log-in of `{user}` at {shown}");
    match (&said.code, said.message.as_str()) {
        (None, NO_PASSWORD) => {
            let message = format!("{doing} needs a password: give the connection `password`.");
            Fault::refused("postgres_login", message)
        }
        (None, message) => Fault::remote("postgres_connect", format!("{doing} failed: {message}.")),
        (Some(_), _) => Fault { unknown_outcome: false, ..fault_of(&doing, said) },
    }
}
