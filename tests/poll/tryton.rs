//! A real Tryton, polled: `just poll` starts one.

use std::path::PathBuf;

use serde_json::{Value, json};

/// What Tryton is asked with.
#[derive(Debug, Clone, Copy)]
pub enum Protocol {
    Rest,
    JsonRpc,
}

/// A running Tryton.
pub struct Tryton {
    url: String,
    key: String,
    password: String,
    client: reqwest::Client,
}

impl Tryton {
    /// The one that the environment names; without it the test says loudly that it did not run.
    pub fn find() -> Option<Self> {
        let Some(folder) = std::env::var_os("PASSERELLE_TEST_ERP").map(PathBuf::from) else {
            eprintln!("SKIPPED: a real Tryton is needed: `just poll` starts one and runs this.");
            return None;
        };
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let configuration = read("trytond.conf");
        let listen = configuration.lines().find_map(|line| line.strip_prefix("listen = "));
        let url = format!("http://{}/erp", listen.unwrap());
        // Whoever opens a connection finds its cryptography.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let secret = |name| read(name).trim().to_owned();
        Some(Self { url, key: secret("key"), password: secret("pass"), client })
    }

    /// Creates or changes a party; gives its id.
    pub async fn write(&self, id: Option<i64>, party: Value) -> i64 {
        let url = format!("{}/rest/model/party.party", self.url);
        let request = match id {
            None => self.client.post(url),
            Some(id) => self.client.put(format!("{url}/{id}")),
        };
        let request = request.bearer_auth(&self.key).header("content-type", "application/json");
        let answer = request.body(party.to_string()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{status} {text}");
        let read: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!({}));
        read["id"].as_i64().or(id).unwrap()
    }

    /// The sections of a pipeline that polls its parties, by REST or by JSON-RPC.
    pub fn sections(&self, protocol: Protocol) -> String {
        let sections = match protocol {
            Protocol::Rest => REST,
            Protocol::JsonRpc => JSON_RPC,
        };
        sections
            .replace("TRYTON", &self.url)
            .replace("KEY", &self.key)
            .replace("PASSWORD", &self.password)
    }
}

const REST: &str = r#"
connections:
  erp: { http: { url: "TRYTON/rest/model", allow_private: true, auth: { bearer: KEY } } }
topics:
  erp.parties: { partitions: 4, schema: contact.avsc }
sources:
  parties:
    from: erp
    poll:
      every: 500ms
      path: /party.party?f=name&f=code&f=write_date&f=create_date
      query:
        d: '{{ encode_base64(encode_json(["OR", ["write_date", ">=", format_timestamp!(.since, "%Y-%m-%d %H:%M:%S%.6f")], ["create_date", ">=", format_timestamp!(.since, "%Y-%m-%d %H:%M:%S%.6f")]]), charset: "url_safe") }}'
        o: '{{ encode_base64(encode_json([["write_date", "ASC"], ["id", "ASC"]]), charset: "url_safe") }}'
        s: "{{ .size }}"
        p: "{{ .offset }}"
      pages: { offset: { size: 10 } }
      id: .id
      changed: .write_date || .create_date
      overlap: 30s
      event: '{ "id": to_string!(.id), "name": .name, "email": .code }'
    to: erp.parties
    key: .id
"#;

/// As a user with a password: a key is good for REST only.
const JSON_RPC: &str = r#"
connections:
  erp: { http: { url: TRYTON, allow_private: true, auth: { basic: { user: admin, password: PASSWORD } } } }
topics:
  erp.parties: { partitions: 4, schema: contact.avsc }
sources:
  parties:
    from: erp
    poll:
      every: 500ms
      method: POST
      path: /rpc/
      body: |
        since = format_timestamp!(.since, "%Y-%m-%d %H:%M:%S%.6f")
        {
          "id": 1,
          "method": "model.party.party.search_read",
          "params": [
            ["OR", ["write_date", ">=", since], ["create_date", ">=", since]],
            .offset, .size, [["write_date", "ASC"], ["id", "ASC"]],
            ["name", "code", "write_date", "create_date"], {},
          ],
        }
      failure: .error
      items: .result
      pages: { offset: { size: 10 } }
      id: .id
      changed: .write_date || .create_date
      overlap: 30s
      event: '{ "id": to_string!(.id), "name": .name, "email": .code }'
    to: erp.parties
    key: .id
"#;
