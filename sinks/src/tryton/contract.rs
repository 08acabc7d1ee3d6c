//! What the ERP must have for a sale to be written: looked at before the first one is.

use engine::Fault;

use super::{FIELDS, OWN, SALE, TrytonSink};

/// The fields of other records that the sink writes.
const OTHERS: [(&str, &[&str]); 3] = [
    ("sale.line", &["product", "unit", "quantity", "unit_price"]),
    ("party.party", &["name", "code", "addresses", "contact_mechanisms"]),
    ("party.address", &["street", "city", "postal_code", "country", "party"]),
];

/// Holds what the sink writes against what the ERP has. Reads only.
///
/// # Errors
/// The route waits: a field, the shop or the payment term is not there, and the message names it.
pub(super) async fn hold(sink: &TrytonSink) -> Result<(), Fault> {
    let further = sink.fields.iter().map(|(name, _)| name.as_str());
    let sale: Vec<&str> = OWN.into_iter().chain(FIELDS).chain(further).collect();
    fields(sink, SALE, &sale).await?;
    for (model, names) in OTHERS {
        fields(sink, model, names).await?;
    }
    let shop = sink.references.shop(&sink.rest).await?;
    if let Some(term) = &sink.options.payment_term {
        let rest = sink.rest.of_company(shop.company);
        sink.references.payment_term(&rest, term).await?;
    }
    Ok(())
}

async fn fields(sink: &TrytonSink, model: &str, names: &[&str]) -> Result<(), Fault> {
    let there = sink.rest.fields_of(model).await?;
    let gone: Vec<&str> = names.iter().copied().filter(|name| there.get(name).is_none()).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let message = format!(
        "The ERP's `{model}` has no field `{}`, or the key's user may not see it: nothing is \
         written. Install the module that brings it (web_shop for web_id), or mend the sink's \
         options or the user's rights.",
        gone.join("`, `")
    );
    Err(Fault::refused("tryton_unknown_field", message))
}
