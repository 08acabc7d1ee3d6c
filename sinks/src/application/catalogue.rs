//! The descriptions that the binary brings along.

use std::path::Path;
use std::sync::LazyLock;

use engine::Catalogue;
use engine::configuration::applications::declare;
use engine::configuration::file::File;
use engine::configuration::{Grammar, draw_all};
use engine::connector::SinkDeclaration;

use super::descriptions;

/// The files of `sinks/applications/`, by name. A new one is one line here.
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../applications/", $name)))),*]
    };
}

pub(super) const FILES: &[(&str, &str)] = files![
    "hubspot.yaml",
    "quickbooks.yaml",
    "stripe.yaml",
    "shopify.yaml",
    "woocommerce.yaml",
    "odoo.yaml",
    "erpnext.yaml",
    "dolibarr.yaml",
    "zapier.yaml",
    "make.yaml",
    "n8n.yaml",
];

/// The connectors that they are, in the list's order. They are read once.
pub(crate) fn all() -> Vec<SinkDeclaration> {
    static ALL: LazyLock<Vec<SinkDeclaration>> = LazyLock::new(|| {
        let catalogue = Catalogue { descriptions: Some(descriptions()), ..Catalogue::default() };
        let grammar = Grammar::of(&catalogue);
        let mut all = Vec::new();
        for (name, text) in FILES {
            let file = File::new(Path::new(name), (*text).to_owned());
            match declare(&file, &catalogue, &grammar) {
                Ok(declaration) => all.push(declaration),
                // A test holds that none is wrong; one that is takes no other with it.
                Err(problems) => tracing::error!("{}", draw_all(&problems, false)),
            }
        }
        all
    });
    ALL.clone()
}
