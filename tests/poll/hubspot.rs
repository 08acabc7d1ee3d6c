//! HubSpot, as far as contacts are searched: its search API (keyset over `lastmodifieddate`, at most 100
//! here), its tokens that end, its limits (429 with `Retry-After`) and its bad days (502).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

/// The running application.
#[derive(Clone)]
pub struct HubSpot {
    pub url: String,
    state: Arc<Mutex<Account>>,
}

#[derive(Default)]
struct Account {
    /// By id: when it was changed (milliseconds since the Unix epoch), and how often.
    contacts: BTreeMap<u64, (i64, u64)>,
    clock: i64,
    calls: usize,
    /// How many tokens were given, and how many calls the last one is good for.
    tokens: usize,
    token_left: usize,
    /// How often each refusal was given.
    refused: BTreeMap<u16, usize>,
    /// Whether contacts change while they are read.
    busy: bool,
}

/// How many searches a token is good for.
const CALLS_A_TOKEN: usize = 15;

impl HubSpot {
    /// Starts it with so many contacts, ten of each time.
    pub async fn start(contacts: u64) -> Self {
        let mut account = Account { clock: 1_760_000_000_000, ..Account::default() };
        for id in 0..contacts {
            account.clock += i64::from(id.is_multiple_of(10)) * 1_000;
            account.contacts.insert(id, (account.clock, 1));
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let hubspot = Self { url, state: Arc::new(Mutex::new(account)) };
        let router = Router::new()
            .route("/oauth/v1/token", post(token))
            .route("/crm/v3/objects/contacts/search", post(search))
            .with_state(hubspot.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        hubspot
    }

    /// Lets contacts change with every search, or no longer.
    pub fn set_busy(&self, busy: bool) {
        self.state.lock().unwrap().busy = busy;
    }

    /// How often each contact was changed, by its id.
    pub fn contacts(&self) -> BTreeMap<String, u64> {
        let state = self.state.lock().unwrap();
        state.contacts.iter().map(|(id, (_, count))| (id.to_string(), *count)).collect()
    }

    pub fn calls(&self) -> usize {
        self.state.lock().unwrap().calls
    }

    /// How many tokens it gave, and how often it answered each refusal.
    pub fn refusals(&self) -> (usize, BTreeMap<u16, usize>) {
        let state = self.state.lock().unwrap();
        (state.tokens, state.refused.clone())
    }
}

impl Account {
    fn refuse(&mut self, status: u16, category: &str) -> Response {
        *self.refused.entry(status).or_default() += 1;
        let status = StatusCode::from_u16(status).unwrap();
        let body = json!({ "status": "error", "category": category, "message": "no" });
        (status, [("retry-after", "1")], Json(body)).into_response()
    }

    /// A few contacts change: the latest, one from long ago, and a new one, all at one time.
    fn change(&mut self) {
        self.clock += 1_000;
        let count = self.contacts.len() as u64;
        for id in [count - 1, (self.calls as u64 * 7) % count] {
            let (time, changes) = self.contacts.entry(id).or_default();
            (*time, *changes) = (self.clock, *changes + 1);
        }
        self.contacts.insert(count, (self.clock, 1));
    }
}

async fn token(State(hubspot): State<HubSpot>, form: String) -> Response {
    let mut state = hubspot.state.lock().unwrap();
    let whole = ["grant_type=refresh_token", "refresh_token=refresh", "client_id=passerelle"];
    if !whole.iter().all(|field| form.split('&').any(|one| one == *field)) {
        return state.refuse(400, "BAD_GRANT_TYPE");
    }
    state.tokens += 1;
    state.token_left = CALLS_A_TOKEN;
    let access_token = format!("token-{}", state.tokens);
    let body =
        json!({ "access_token": access_token, "refresh_token": "refresh", "expires_in": 1800 });
    Json(body).into_response()
}

async fn search(State(hubspot): State<HubSpot>, headers: HeaderMap, body: Json<Value>) -> Response {
    let mut state = hubspot.state.lock().unwrap();
    state.calls += 1;
    let expected = format!("Bearer token-{}", state.tokens);
    let authorized = headers.get("authorization").is_some_and(|given| *given == expected);
    if !authorized || state.token_left == 0 {
        return state.refuse(401, "EXPIRED_AUTHENTICATION");
    }
    state.token_left -= 1;
    match state.calls % 23 {
        11 => return state.refuse(429, "RATE_LIMITS"),
        19 => return state.refuse(502, "BAD_GATEWAY"),
        _ => {}
    }
    if state.busy && state.calls.is_multiple_of(3) {
        state.change();
    }
    let filter = &body["filterGroups"][0]["filters"][0];
    if filter["propertyName"] != "lastmodifieddate" || filter["operator"] != "GTE" {
        return state.refuse(400, "VALIDATION_ERROR");
    }
    let since = filter["value"].as_i64().unwrap();
    let limit = body["limit"].as_u64().unwrap().min(100);
    let mut found: Vec<_> = state.contacts.iter().filter(|(_, (time, _))| *time >= since).collect();
    found.sort_by_key(|(id, (time, _))| (*time, **id));
    let total = found.len();
    let results: Vec<_> =
        found.into_iter().take(usize::try_from(limit).unwrap()).map(contact).collect();
    Json(json!({ "total": total, "results": results })).into_response()
}

fn contact((id, (time, changes)): (&u64, &(i64, u64))) -> Value {
    // As HubSpot writes times: with milliseconds and `Z`.
    let seconds = time / 1_000;
    let days = seconds / 86_400;
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let (year, month, day) = civil(days);
    let at = format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        time % 1_000
    );
    json!({
        "id": id.to_string(),
        "properties": { "email": format!("c{id}@example.com"), "firstname": "Contact", "lastname": changes.to_string(), "lastmodifieddate": at },
        "createdAt": "2025-10-01T00:00:00.000Z", "updatedAt": at, "archived": false,
    })
}

/// The date of a day since 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The sections of a pipeline that polls it. A `@` before a name stands for what makes the case's
/// names its own.
pub fn sections(url: &str) -> String {
    SECTIONS.replace("HUBSPOT", url)
}

const SECTIONS: &str = r#"
connections:
  hubspot:
    http:
      url: HUBSPOT
      allow_private: true
      auth:
        oauth2:
          token_url: HUBSPOT/oauth/v1/token
          client_id: passerelle
          client_secret: secret-of-the-client
          refresh_token: refresh
          credentials_in: body
topics:
  @crm.contacts: { partitions: 4, schema: contact.avsc }
sources:
  contacts:
    from: hubspot
    poll:
      every: 200ms
      method: POST
      path: /crm/v3/objects/contacts/search
      body: |
        {
          "filterGroups": [{ "filters": [{
            "propertyName": "lastmodifieddate", "operator": "GTE",
            "value": to_unix_timestamp!(.last.time || .since, unit: "milliseconds"),
          }] }],
          "sorts": [{ "propertyName": "lastmodifieddate", "direction": "ASCENDING" }],
          "limit": .size,
        }
      items: .results
      pages: { keyset: { size: 50 } }
      id: .id
      changed: .updatedAt
      overlap: 30s
      event: '{ "id": .id, "email": .properties.email, "name": .properties.lastname }'
    to: @crm.contacts
    key: .id
"#;
