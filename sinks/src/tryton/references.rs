//! What sales refer to and the ERP already has: its shop, currencies, terms, countries, products.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::Fault;
use serde_json::{Value as Json, json};

use super::erp::Erp;
use super::rest::{self, Id};
use super::rpc::Rpc;
use super::sale::{Line, Product};

/// How long what was read is taken to hold: somebody may move a code from one product to another.
const FRESH: Duration = Duration::from_secs(600);

/// How many of a kind are remembered.
const MOST: usize = 10_000;

/// The web shop that sales belong to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shop {
    pub(super) id: Id,
    pub(super) company: Id,
}

/// What was read of the ERP, kept for a while.
pub(super) struct References {
    /// The shop's name, when the file gives it.
    shop_name: Option<String>,
    shop: Memory<(), Shop>,
    company: Memory<(), Id>,
    /// The models whose fields are known to be there.
    /// By model and code.
    ids: Memory<(&'static str, String), Id>,
    /// Those that the ERP does not have as well: it would be asked with each sale.
    countries: Memory<String, Option<Id>>,
    products: Memory<String, Product>,
}

impl References {
    pub(super) fn new(shop_name: Option<String>) -> Self {
        Self {
            shop_name,
            shop: Memory::default(),
            company: Memory::default(),
            ids: Memory::default(),
            countries: Memory::default(),
            products: Memory::default(),
        }
    }

    /// Forgets everything: the ERP refused what it was asked with it.
    pub(super) fn forget(&self) {
        self.shop.clear();
        self.company.clear();
        self.ids.clear();
        self.countries.clear();
        self.products.clear();
    }

    /// The company that the user works for.
    ///
    /// # Errors
    /// The route waits when there is none.
    pub(super) async fn company(&self, rpc: &Rpc) -> Result<Id, Fault> {
        if let Some(company) = self.company.get(&()) {
            return Ok(company);
        }
        let told = rpc.call("model.res.user.get_preferences", json!([true])).await?;
        let company = told["company"].as_i64().ok_or_else(|| {
            let message =
                "The user works for no company of the ERP: give them one in their preferences.";
            Fault::refused("tryton_company", message)
        })?;
        self.company.put((), company);
        Ok(company)
    }

    /// The shop of the file, or the only one there is.
    ///
    /// # Errors
    /// The route waits when there is none, or several and no name.
    pub(super) async fn shop(&self, erp: &Erp) -> Result<Shop, Fault> {
        if let Some(shop) = self.shop.get(&()) {
            return Ok(shop);
        }
        let domain = match &self.shop_name {
            Some(name) => json!([["name", "=", name]]),
            None => json!([]),
        };
        let found = erp.search("web.shop", &domain, &["company"], 2).await?;
        let what = match &self.shop_name {
            Some(name) => format!("web shop `{name}`"),
            None => "web shop".to_owned(),
        };
        let [shop] = found.as_slice() else {
            let count = if found.is_empty() { "no" } else { "more than one" };
            let message = format!(
                "The ERP has {count} {what}. Create it there, or name one in the sink's `shop`."
            );
            return Err(Fault::refused("tryton_shop", message));
        };
        let shop = rest::id(shop).zip(shop["company"].as_i64());
        let (id, company) = shop.ok_or_else(|| unreadable(&what))?;
        let shop = Shop { id, company };
        self.shop.put((), shop);
        Ok(shop)
    }

    /// The currency of an ISO 4217 code.
    ///
    /// # Errors
    /// A `Data` fault when the ERP does not have it.
    pub(super) async fn currency(&self, erp: &Erp, code: &str) -> Result<Id, Fault> {
        let found = self.by_code(erp, "currency.currency", "code", code).await?;
        found.ok_or_else(|| {
            let message = format!("The ERP has no currency `{code}`: create it there, then retry.");
            Fault::data("tryton_currency", message)
        })
    }

    /// The unit of this symbol or name.
    ///
    /// # Errors
    /// A `Data` fault when the ERP does not have it, as of all that events name.
    pub(super) async fn unit(&self, erp: &Erp, name: &str) -> Result<Id, Fault> {
        let found = match self.by_code(erp, "product.uom", "symbol", name).await? {
            Some(unit) => Some(unit),
            None => self.by_code(erp, "product.uom", "name", name).await?,
        };
        found.ok_or_else(|| unknown("unit", name))
    }

    /// The accounting category of this name.
    pub(super) async fn accounting_category(&self, erp: &Erp, name: &str) -> Result<Id, Fault> {
        let found = self.by_code(erp, "product.category", "name", name).await?;
        found.ok_or_else(|| unknown("category", name))
    }

    /// The payment method of this name.
    pub(super) async fn payment_method(&self, erp: &Erp, name: &str) -> Result<Id, Fault> {
        let found = self.by_code(erp, "account.invoice.payment.method", "name", name).await?;
        found.ok_or_else(|| unknown("payment method", name))
    }

    /// The journal of what is sold.
    ///
    /// # Errors
    /// The route waits when there is none.
    pub(super) async fn revenue_journal(&self, erp: &Erp) -> Result<Id, Fault> {
        let found = self.by_code(erp, "account.journal", "type", "revenue").await?;
        found.ok_or_else(|| {
            let message =
                "The ERP has no journal of the type `revenue`: create its accounts first.";
            Fault::refused("tryton_journal", message)
        })
    }

    /// The payment term of this name.
    ///
    /// # Errors
    /// The route waits when the ERP does not have it: the name is the file's.
    pub(super) async fn payment_term(&self, erp: &Erp, name: &str) -> Result<Id, Fault> {
        let found = self.by_code(erp, "account.invoice.payment_term", "name", name).await?;
        found.ok_or_else(|| {
            let message = format!(
                "The ERP has no payment term `{name}`. Create it there, or mend the sink's \
                 `payment_term`."
            );
            Fault::refused("tryton_payment_term", message)
        })
    }

    /// The country of an ISO 3166-1 code. An ERP may have none: Tryton imports them by a script.
    pub(super) async fn country(&self, erp: &Erp, code: &str) -> Result<Option<Id>, Fault> {
        if let Some(known) = self.countries.get(code) {
            return Ok(known);
        }
        let found =
            erp.search("country.country", &json!([["code", "=", code]]), &["id"], 1).await?;
        let found = found.first().and_then(rest::id);
        if found.is_none() {
            tracing::warn!(
                country = code,
                "the ERP has no such country, so addresses there have none: run trytond_import_countries"
            );
        }
        self.countries.put(code.to_owned(), found);
        Ok(found)
    }

    async fn by_code(
        &self,
        erp: &Erp,
        model: &'static str,
        field: &str,
        code: &str,
    ) -> Result<Option<Id>, Fault> {
        let key = (model, code.to_owned());
        if let Some(id) = self.ids.get(&key) {
            return Ok(Some(id));
        }
        let found = erp.search(model, &json!([[field, "=", code]]), &["id"], 1).await?;
        let id = found.first().and_then(rest::id);
        if let Some(id) = id {
            self.ids.put(key, id);
        }
        Ok(id)
    }

    /// The products of a sale's lines, in their order.
    ///
    /// # Errors
    /// A `Data` fault that names the products that the ERP does not have.
    pub(super) async fn products(&self, erp: &Erp, lines: &[Line]) -> Result<Vec<Product>, Fault> {
        let mut known: HashMap<&str, Product> = HashMap::new();
        let mut missing: Vec<&str> = Vec::new();
        for code in lines.iter().map(|line| line.product.as_str()) {
            match self.products.get(code) {
                Some(product) => _ = known.insert(code, product),
                None => missing.push(code),
            }
        }
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let domain = json!([["code", "in", missing]]);
            let fields = ["code", "sale_uom"];
            let found = erp.search("product.product", &domain, &fields, 2 * missing.len()).await?;
            for code in &missing {
                if let Some(product) = one_of(&found, code)? {
                    self.products.put((*code).to_owned(), product);
                    known.insert(code, product);
                }
            }
        }
        missing.retain(|code| !known.contains_key(code));
        if !missing.is_empty() {
            let message = format!(
                "The ERP sells no product `{}`: create it there, or mend the code, then retry.",
                missing.join("`, `")
            );
            return Err(Fault::data("tryton_product", message));
        }
        Ok(lines.iter().filter_map(|line| known.get(line.product.as_str()).copied()).collect())
    }
}

/// The product of this code among those found; none without a unit to sell it in.
fn one_of(found: &[Json], code: &str) -> Result<Option<Product>, Fault> {
    let mut same = found.iter().filter(|record| record["code"] == code);
    let (first, second) = (same.next(), same.next());
    if second.is_some() {
        let message = format!("The ERP has several products `{code}`: which is meant is unknown.");
        return Err(Fault::data("tryton_product", message));
    }
    let read =
        |record: &Json| Some(Product { id: rest::id(record)?, unit: record["sale_uom"].as_i64()? });
    Ok(first.and_then(read))
}

fn unknown(what: &str, name: &str) -> Fault {
    let message = format!("The ERP has no {what} `{name}`: create it there, then retry.");
    Fault::data("tryton_reference", message)
}

/// What the key's user may not read is left out of the ERP's answers.
pub(super) fn unreadable(what: &str) -> Fault {
    let message = format!(
        "The ERP's answer about {what} lacks fields: give the key's user the right to read them."
    );
    Fault::refused("tryton_access", message)
}

/// A bounded memory of what was read, each for a while.
struct Memory<K, V> {
    fresh: Duration,
    all: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self { fresh: FRESH, all: Mutex::default() }
    }
}

impl<K: Eq + Hash, V: Copy> Memory<K, V> {
    fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).filter(|(since, _)| since.elapsed() < self.fresh).map(|(_, value)| *value)
    }

    fn put(&self, key: K, value: V) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, (since, _)| since.elapsed() < self.fresh);
        }
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(key, (Instant::now(), value));
    }

    fn clear(&self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_forgotten_in_time_and_bounded() {
        let memory = Memory::default();
        memory.put("a".to_owned(), 1);
        assert_eq!(memory.get("a"), Some(1));
        let old = Memory { fresh: Duration::ZERO, ..Memory::default() };
        old.put("a".to_owned(), 1);
        assert_eq!(old.get("a"), None);
        for number in 0..MOST + 5 {
            memory.put(number.to_string(), 0);
        }
        assert!(memory.all.lock().unwrap().len() <= MOST);
    }

    #[test]
    fn a_code_that_two_products_share_is_not_guessed() {
        let product = |id, code| json!({ "id": id, "code": code, "sale_uom": 1 });
        let found = [product(1, "A"), product(2, "B"), product(3, "B")];
        assert_eq!(one_of(&found, "A").unwrap(), Some(Product { id: 1, unit: 1 }));
        assert_eq!(one_of(&found, "C").unwrap(), None);
        assert_eq!(one_of(&found, "B").unwrap_err().domain, engine::Domain::Data);
    }
}
