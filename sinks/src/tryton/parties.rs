//! Finding who bought, or making them known.

use std::collections::HashMap;

use engine::Fault;
use serde_json::{Value as Json, json};

use super::erp::Erp;
use super::failure::Failure;
use super::options::MatchParty;
use super::references::{References, unreadable};
use super::rest::{self, Id};
use super::sale::{Address, Party};

/// Who bought, in the ERP.
#[derive(Debug)]
pub(super) struct Buyer {
    pub(super) id: Id,
    /// The address that the event gives.
    pub(super) address: Id,
    /// The party's own payment term.
    pub(super) payment_term: Option<Id>,
}

const FIELDS: [&str; 6] = [
    "code",
    "addresses.street",
    "addresses.city",
    "addresses.postal_code",
    "addresses.country",
    "customer_payment_term",
];

/// What a search for the parties of several events told, by code, until one of them is changed.
#[derive(Debug, Default)]
pub(super) struct Asked(HashMap<String, Option<Json>>);

impl Asked {
    /// Asks for the parties of these codes.
    pub(super) async fn of(erp: &Erp, codes: Vec<&str>) -> Result<Self, Fault> {
        let domain = json!([["code", "in", codes]]);
        let found = erp.search("party.party", &domain, &FIELDS, codes.len()).await?;
        let mut asked: HashMap<String, Option<Json>> =
            codes.into_iter().map(|code| (code.to_owned(), None)).collect();
        for party in found {
            if let Some(code) = party["code"].as_str() {
                asked.insert(code.to_owned(), Some(party));
            }
        }
        Ok(Self(asked))
    }
}

/// The party of the event, with its address: found, or created. A party that is there is not
/// changed.
///
/// # Errors
/// A `Data` fault when the ERP refuses it, or has several parties of the same mail address.
pub(super) async fn find_or_create(
    erp: &Erp,
    references: &References,
    by: MatchParty,
    party: &Party,
    asked: &mut Asked,
) -> Result<Buyer, Fault> {
    let country = references.country(erp, &party.address.country).await?;
    let found = match (by, asked.0.remove(&party.code)) {
        (MatchParty::Code, Some(found)) => found,
        (MatchParty::Code, None) => find_by_code(erp, party).await?,
        (MatchParty::Email, _) => find_by_email(erp, party).await?,
    };
    if let Some(found) = found {
        return with_address(erp, &found, &party.address, country).await;
    }
    match erp.create_one("party.party", record(party, country), &FIELDS).await {
        // The same party may be created by another event at the same time: its code is unique.
        Err(refused @ Failure::Refused { .. }) => match find_by_code(erp, party).await? {
            Some(found) => with_address(erp, &found, &party.address, country).await,
            None => Err(refused.into()),
        },
        created => with_address(erp, &created?, &party.address, country).await,
    }
}

async fn find_by_code(erp: &Erp, party: &Party) -> Result<Option<Json>, Fault> {
    let domain = json!([["code", "=", party.code]]);
    Ok(erp.search("party.party", &domain, &FIELDS, 1).await?.pop())
}

async fn find_by_email(erp: &Erp, party: &Party) -> Result<Option<Json>, Fault> {
    let email = json!([["type", "=", "email"], ["value", "=", party.email]]);
    let domain = json!([["contact_mechanisms", "where", email]]);
    let mut found = erp.search("party.party", &domain, &FIELDS, 2).await?;
    if found.len() > 1 {
        let message = format!(
            "The ERP has several parties with the mail address of party `{}`: which is meant is \
             unknown. Merge them there, or let the sink match by code.",
            party.code
        );
        return Err(Fault::data("tryton_party", message));
    }
    Ok(found.pop())
}

fn record(party: &Party, country: Option<Id>) -> Json {
    let mut record = json!({
        "name": party.name,
        "code": party.code,
        "addresses": [["create", [address_record(&party.address, country)]]],
    });
    if !party.email.is_empty() {
        let email = json!({ "type": "email", "value": party.email });
        record["contact_mechanisms"] = json!([["create", [email]]]);
    }
    record
}

pub(super) fn address_record(address: &Address, country: Option<Id>) -> Json {
    json!({
        "street": address.street,
        "city": address.city,
        "postal_code": address.postal_code,
        "country": country,
    })
}

/// The party with the event's address: one that it has, or a new one.
async fn with_address(
    erp: &Erp,
    party: &Json,
    address: &Address,
    country: Option<Id>,
) -> Result<Buyer, Fault> {
    let unreadable = || unreadable("the party");
    let id = rest::id(party).ok_or_else(unreadable)?;
    let known = party["addresses"].as_array().ok_or_else(unreadable)?;
    let address = match known.iter().find(|known| is_same(known, address, country)) {
        Some(known) => rest::id(known),
        None => {
            let mut record = address_record(address, country);
            record["party"] = json!(id);
            rest::id(&erp.create_one("party.address", record, &["id"]).await?)
        }
    };
    let address = address.ok_or_else(unreadable)?;
    Ok(Buyer { id, address, payment_term: party["customer_payment_term"].as_i64() })
}

fn is_same(known: &Json, address: &Address, country: Option<Id>) -> bool {
    let texts = [
        ("street", &address.street),
        ("city", &address.city),
        ("postal_code", &address.postal_code),
    ];
    // The ERP trims what it keeps, and keeps nothing for an empty text.
    let same = |(name, text): (&str, &String)| {
        known[name].as_str().unwrap_or_default().trim() == text.trim()
    };
    texts.into_iter().all(same) && known["country"].as_i64() == country
}
