//! What a route writes, and how.

use std::collections::BTreeMap;

use engine::connector::Findings;
use engine::expression::Expression;
use schemars::JsonSchema;
use serde::Deserialize;

/// What a route books.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Options {
    /// What each event becomes.
    #[serde(default)]
    pub object: Object,
    /// The field of the ERP's that makes a repeat harmless: each object has one.
    #[serde(default)]
    pub id: Option<UniqueId>,
    /// The name of the web shop that the sales belong to, and with it their company. Without it, the
    /// only one that the ERP has.
    #[serde(default)]
    pub shop: Option<String>,
    /// The name of the payment term. Without it, the party's own, if it has one.
    #[serde(default)]
    pub payment_term: Option<String>,
    /// How a party is recognised. One that is not found is created with the event's code.
    #[serde(default)]
    pub match_party: MatchParty,
    /// Which amount of the ERP's must equal the event's `total`, to the last digit, before the sale is
    /// quoted.
    #[serde(default)]
    pub check_total: CheckTotal,
    /// How far a sale or an invoice is taken. Without it, a sale is confirmed and an invoice stays a
    /// draft.
    #[serde(default)]
    pub state: Option<Goal>,
    /// How many events go in one call at most, by JSON-RPC.
    #[serde(default = "Options::default_batch")]
    pub batch: usize,
    /// What becomes of a party or a product whose fields differ from the event's while somebody else
    /// than our own user changed it last.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// Further fields of the record: `comment: .note`. An object or an array is given as the ERP's JSON.
    #[serde(default)]
    pub fields: BTreeMap<String, Expression>,
    /// What a deletion (a tombstone: a key without a value) does.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// The fields of the sale that the sink writes itself.
pub(super) const OWN: [&str; 12] = [
    "company",
    "currency",
    "invoice_address",
    "lines",
    "party",
    "payment_term",
    "reference",
    "sale_date",
    "shipment_address",
    "state",
    "web_id",
    "web_shop",
];

impl Options {
    fn default_batch() -> usize {
        50
    }

    pub(super) fn check(&self, findings: &mut Findings) {
        for name in self.fields.keys().filter(|name| self.object.own().contains(&name.as_str())) {
            let cause = format!("The field `{name}` is written by the sink itself.");
            findings.route(&format!("/fields/{name}"), "field_taken", cause, "Leave it out.");
        }
        if self.batch == 0 {
            let cause = "A batch of no events delivers nothing.";
            findings.route("/batch", "batch_zero", cause, "Write 50.");
        }
        if self.id.is_some_and(|id| id != self.object.id()) {
            let cause = "The object is not recognised by this field.";
            findings.route("/id", "id_unfit", cause, "Leave `id` out.");
        }
        let goals: &[Goal] = match self.object {
            Object::Sale => &[Goal::Draft, Goal::Quotation, Goal::Confirmed],
            Object::Invoice => &[Goal::Draft, Goal::Posted],
            _ => &[],
        };
        if self.state.is_some_and(|state| !goals.contains(&state)) {
            let cause = "The object has no such state.";
            let advice =
                "Sales are `draft`, `quotation` or `confirmed`, invoices `draft` or `posted`.";
            findings.route("/state", "state_unfit", cause, advice);
        }
    }
}

impl Object {
    fn id(self) -> UniqueId {
        match self {
            Self::Sale => UniqueId::WebId,
            Self::Party | Self::Product => UniqueId::Code,
            Self::Invoice => UniqueId::Reference,
            Self::Payment => UniqueId::Description,
        }
    }

    /// The model whose records are created; a payment's is made by the ERP's own wizard.
    pub(super) fn model(self) -> Option<&'static str> {
        match self {
            Self::Sale => Some("sale.sale"),
            Self::Party => Some("party.party"),
            Self::Product => Some("product.template"),
            Self::Invoice => Some("account.invoice"),
            Self::Payment => None,
        }
    }

    /// The fields of the record that the sink writes itself.
    pub(super) fn own(self) -> &'static [&'static str] {
        match self {
            Self::Sale => &OWN,
            Self::Party => &["code", "name", "addresses", "contact_mechanisms"],
            Self::Product => &[
                "name",
                "type",
                "default_uom",
                "sale_uom",
                "salable",
                "list_price",
                "account_category",
                "products",
            ],
            Self::Invoice => &[
                "type",
                "company",
                "currency",
                "party",
                "account",
                "payment_term",
                "invoice_address",
                "journal",
                "reference",
                "invoice_date",
                "lines",
            ],
            Self::Payment => &[],
        }
    }
}

/// What an event becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Object {
    /// A sale, from the fields of the built-in schema `sale.avsc`.
    #[default]
    #[serde(rename = "sale.sale")]
    Sale,
    /// A party with its addresses and contacts, from `party.avsc`: created, or changed.
    #[serde(rename = "party.party")]
    Party,
    /// A product and its template, from `product.avsc`: created, or changed.
    #[serde(rename = "product.product")]
    Product,
    /// A customer's invoice, from `invoice.avsc`.
    #[serde(rename = "account.invoice")]
    Invoice,
    /// A payment of a customer's invoice, from `payment.avsc`.
    #[serde(rename = "account.invoice.pay")]
    Payment,
}

/// What makes an object unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UniqueId {
    /// Of a sale: the shop and the event's `web_id` (the ERP's module `web_shop`).
    WebId,
    /// Of a party or a product.
    Code,
    /// Of an invoice: looked up before it is created.
    Reference,
    /// Of a payment: the description of its move, looked up before it is booked.
    Description,
}

/// What becomes of a record that somebody changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The event goes to the dead letters, with both values; nothing is written.
    #[default]
    DeadLetter,
    /// Their fields stay as they are; addresses and contacts that are missing are added.
    Keep,
    /// The event's fields are written.
    Overwrite,
}

/// How a party is recognised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchParty {
    /// By its code.
    #[default]
    Code,
    /// By its mail address; several parties with the same one are a fault of the event.
    Email,
}

/// Which amount must equal the event's total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckTotal {
    /// The amount with taxes.
    #[default]
    TotalAmount,
    /// The amount without taxes.
    UntaxedAmount,
    /// None.
    No,
}

/// How far a sale or an invoice is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// It is created.
    Draft,
    /// A sale is quoted, and has a number.
    Quotation,
    /// A sale is confirmed; the ERP then processes it.
    Confirmed,
    /// An invoice is posted, and has a number.
    Posted,
}

/// What a deletion does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDelete {
    /// It goes to the dead letters.
    #[default]
    DeadLetter,
    /// Nothing.
    Ignore,
}
