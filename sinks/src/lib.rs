//! Sinks: each delivers a topic to one kind of application, and each is one file or one folder.

pub mod application;
pub mod file;
pub mod http;
pub mod kafka;
pub mod postgres;
pub mod smtp;
pub mod tryton;

use engine::connector::SinkDeclaration;

pub use application::descriptions;

/// Every sink, in the order in which the catalogue lists them: those that are coded, then the
/// applications that are described.
pub fn all() -> Vec<SinkDeclaration> {
    let mut all = vec![
        SinkDeclaration::of::<http::Http>(),
        SinkDeclaration::of::<tryton::Tryton>(),
        SinkDeclaration::of::<smtp::Smtp>(),
        SinkDeclaration::of::<file::File>(),
        SinkDeclaration::of::<file::S3>(),
        SinkDeclaration::of::<kafka::Kafka>(),
        SinkDeclaration::of::<postgres::Postgres>(),
    ];
    all.extend(application::catalogue::all());
    all
}

#[cfg(test)]
pub(crate) mod tests {
    use engine::connector::{Setup, Shared};
    use engine::{Event, Headers};

    use super::*;

    /// An order as a sink gets it.
    pub(crate) fn order(json: &str, headers: Headers) -> Event {
        Event {
            topic: "shop.orders".into(),
            partition: 0,
            offset: 7,
            timestamp: 1,
            key: Some("C-1".into()),
            payload: Some("avro".into()),
            headers,
            value: Some(schemas::json::read_plain(json.as_bytes()).unwrap()),
        }
    }

    /// A route that reads anything.
    pub(crate) fn setup() -> Setup {
        Setup {
            route: "orders/target".into(),
            input: vrl::value::Kind::any(),
            input_schema: None,
            output_schema: None,
            connection: None,
            listen: ([127, 0, 0, 1], 8080).into(),
            folder: ".".into(),
            shared: Shared::default(),
        }
    }

    /// Files are held against these schemas: an option that is missing there cannot be written.
    #[test]
    fn the_options_of_every_connection_over_http_stand_side_by_side_with_its_own() {
        for declaration in
            [SinkDeclaration::of::<http::Http>(), SinkDeclaration::of::<tryton::Tryton>()]
        {
            let schema = declaration.connection.as_value();
            for name in ["url", "allow_private", "timeout", "tls"] {
                let option = &schema["properties"][name];
                assert!(option["description"].is_string(), "{}: {name}", declaration.name);
            }
            let required = schema["required"].as_array().unwrap();
            assert!(required.contains(&"url".into()), "{}", declaration.name);
        }
    }
}
