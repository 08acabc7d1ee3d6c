//! Sinks: each delivers a topic to one kind of application, and each is one file or one folder.

pub mod exchange;
pub mod http;
pub mod tryton;

use engine::connector::SinkDeclaration;

/// Every sink, in the order in which the catalogue lists them.
pub fn all() -> Vec<SinkDeclaration> {
    vec![SinkDeclaration::of::<http::Http>(), SinkDeclaration::of::<tryton::Tryton>()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files are held against these schemas: an option that is missing there cannot be written.
    #[test]
    fn the_options_of_every_connection_over_http_stand_side_by_side_with_its_own() {
        for declaration in all() {
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
