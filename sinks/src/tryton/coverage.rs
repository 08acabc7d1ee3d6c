//! What of Tryton is covered, for people and programs.

use serde_json::{Value as Json, json};

/// The objects, what each promises about repeats, and what is not covered.
pub(super) fn told() -> Json {
    let object = |operation: &str, batch: usize, once: &str| json!({ "operations": { operation: { "batch": batch, "once": once } } });
    json!({
        "version": "8.2",
        "objects": {
            "sale.sale": object("create", 50, "for ever"),
            "party.party": object("upsert", 50, "for ever"),
            "product.product": object("upsert", 50, "for ever"),
            "account.invoice": object("create", 50, "for ever"),
            "account.invoice.pay": object("create", 1, "for ever"),
        },
        "lacks": [
            "With a key (REST) only sales, one at a time: stale versions are refused by JSON-RPC alone.",
            "Sales are unique in the ERP (module web_shop), and so are the codes of parties. Products, \
             invoices and payments are not: they are looked up before they are created, and one that the \
             ERP finishes after the connection's `timeout` and after the next look-up is doubled. Keep \
             `timeout` above what the ERP takes.",
            "Suppliers' invoices, credit notes, refunds, bank statements and `account_payment`.",
            "Taxes of a sale's lines: their prices are the event's, and `check_total` holds the sum. An \
             invoice's lines get the taxes that the ERP proposes.",
            "Addresses and contacts are added and never changed or taken away; a product's type, unit and \
             category are not changed later.",
            "Other models, and deletions.",
        ],
        "unsure": [
            "Tryton before 8: its interfaces differ.",
            "PostgreSQL underneath: what is written here was held against SQLite.",
        ],
        "sources": [
            "trytond 8.2: protocols/dispatcher.py, protocols/jsonrpc.py, protocols/rest.py, model/modelsql.py",
            "trytond_account_invoice 8.2: invoice.py",
        ],
    })
}
