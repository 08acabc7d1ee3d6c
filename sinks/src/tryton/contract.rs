//! What the ERP must have for a route's records to be written: looked at before the first one is, for
//! the ERP throws its key errors in the middle of the work.

use engine::Fault;

use super::TrytonSink;
use super::erp::Erp;
use super::options::Object;
use super::sales::FIELDS;

/// The fields of other records that sales are written with.
const OF_SALES: [(&str, &[&str]); 3] = [
    ("sale.line", &["product", "unit", "quantity", "unit_price"]),
    ("party.party", &["name", "code", "addresses", "contact_mechanisms"]),
    ("party.address", &["street", "city", "postal_code", "country", "party"]),
];

impl TrytonSink {
    /// Holds what the sink writes against what the ERP has. Reads only.
    ///
    /// # Errors
    /// The route waits: the credentials, a field, the shop or the payment term are not taken or not
    /// there, and the message names which.
    pub(super) async fn hold_contract(&self) -> Result<(), Fault> {
        let erp = match self.options.object {
            Object::Sale => self.erp.clone(),
            _ => Erp::Rpc(self.company().await?),
        };
        if let Some(model) = self.options.object.model() {
            let own = self.options.object.own().iter().copied();
            let further = self.fields.iter().map(|(name, _)| name.as_str());
            has_fields(&erp, model, &own.chain(further).collect::<Vec<_>>()).await?;
        }
        if self.options.object == Object::Sale {
            has_fields(&erp, "sale.sale", &FIELDS).await?;
            for (model, names) in OF_SALES {
                has_fields(&erp, model, names).await?;
            }
            let shop = self.references.shop(&erp).await?;
            if let Some(term) = &self.options.payment_term {
                self.references.payment_term(&erp.of_company(shop.company), term).await?;
            }
        }
        Ok(())
    }
}

async fn has_fields(erp: &Erp, model: &str, names: &[&str]) -> Result<(), Fault> {
    let there = erp.fields_of(model).await?;
    let gone: Vec<&str> = names.iter().copied().filter(|name| there.get(name).is_none()).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let message = format!(
        "The ERP's {model} has no field `{}`, or our user may not see it: nothing is written. Install the \
         module that brings it (web_shop for web_id), or mend the sink's `fields` or the user's rights.",
        gone.join("`, `")
    );
    Err(Fault::refused("tryton_unknown_field", message))
}
