//! What is bought, and what the ERP must then have.

use serde_json::json;

use crate::erp::Sale;
use crate::outbox::Outbox;

/// A product, its quantity, and its price in cents.
type Line<'a> = (&'a str, u64, u64);

/// A customer of the shop.
pub struct Buyer {
    pub name: &'static str,
    pub email: &'static str,
    /// Street, town, postal code and country.
    address: [&'static str; 4],
}

/// All customers.
pub const BUYERS: [Buyer; 4] = [
    Buyer {
        name: "Ada Lovelace",
        email: "ada@example.com",
        address: ["12 St James's Square", "London", "SW1Y 4JH", "GB"],
    },
    Buyer {
        name: "Évariste Galois",
        email: "evariste@example.com",
        address: ["12 rue de la Bièvre", "Bourg-la-Reine", "92340", "FR"],
    },
    Buyer {
        name: "Софья Ковалевская",
        email: "sofia@example.com",
        address: ["Kungsgatan 4 \"B\"", "Stockholm", "111 43", "SE"],
    },
    Buyer {
        name: "O'Brien & Sons <Ltd>",
        email: "sons@example.com",
        address: ["1 Quay\\Street", "Galway", "H91 E9F4", "IE"],
    },
];

impl Buyer {
    /// What the shop writes to the payment.
    pub fn json(&self) -> String {
        let [street, city, postal_code, country] = self.address;
        let address = json!({ "street": street, "city": city, "postal_code": postal_code, "country": country });
        json!({ "name": self.name, "email": self.email, "address": address }).to_string()
    }
}

/// An order of the shop.
pub struct Order {
    /// Its number, one for each run.
    pub id: String,
    /// Its place in [`BUYERS`].
    pub buyer: usize,
    /// Product, quantity and price of one in cents.
    lines: Vec<(&'static str, u64, u64)>,
    /// What the shop writes to the payment instead of the lines.
    garbled: Option<&'static str>,
    /// What is paid beyond the sum of the lines, in cents.
    surplus: u64,
}

impl Order {
    fn new(run: &str, number: usize, buyer: usize, lines: &[(&'static str, u64, u64)]) -> Self {
        Self {
            id: format!("{run}-{number}"),
            buyer,
            lines: lines.to_vec(),
            garbled: None,
            surplus: 0,
        }
    }

    /// Twelve orders of four customers. As floats 0.10 + 0.20, 3 × 1.10, 100 × 0.57, 100 × 4.35 and
    /// the like are not what they seem.
    pub fn twelve(run: &str) -> Vec<Self> {
        let all: [(usize, &[Line]); 12] = [
            (0, &[("SKU-1", 1, 10), ("SKU-2", 1, 20)]),
            (0, &[("SKU-1", 3, 110)]),
            (1, &[("SKU-2", 100, 57)]),
            (1, &[("SKU-1", 100, 435), ("SKU-2", 1, 1)]),
            (2, &[("SKU-1", 1, 99_999_999)]),
            (2, &[("SKU-2", 33, 7), ("SKU-1", 7, 33)]),
            (3, &[("SKU-1", 2, 1_000), ("SKU-2", 1, 2_550)]),
            (3, &[("SKU-2", 3, 1_999)]),
            (0, &[("SKU-1", 100, 115)]),
            (1, &[("SKU-1", 1, 70), ("SKU-1", 1, 10), ("SKU-2", 1, 90)]),
            (2, &[("SKU-2", 1, 1)]),
            (3, &[("SKU-1", 9, 1_005), ("SKU-2", 6, 820)]),
        ];
        let all = all.into_iter().enumerate();
        all.map(|(number, (buyer, lines))| Self::new(run, number + 1, buyer, lines)).collect()
    }

    /// One whose lines cannot be read, one of a product that the ERP does not have, one that is paid a
    /// cent too much, and a good one of the same customer.
    pub fn of_which_three_are_bad(run: &str) -> [Self; 4] {
        let garbled = Some("2 notebooks, please");
        let unreadable = Self { garbled, ..Self::new(run, 1, 0, &[("SKU-1", 2, 1_000)]) };
        let unknown = Self::new(run, 2, 0, &[("SKU-404", 1, 500)]);
        let overpaid = Self { surplus: 1, ..Self::new(run, 3, 0, &[("SKU-1", 3, 10)]) };
        [unreadable, unknown, overpaid, Self::new(run, 4, 0, &[("SKU-2", 1, 2_550)])]
    }

    /// What is paid.
    pub fn cents(&self) -> u64 {
        let lines = self.lines.iter().map(|(_, quantity, price)| quantity * price);
        lines.sum::<u64>() + self.surplus
    }

    /// What the shop writes to the payment.
    pub fn lines_json(&self) -> String {
        let line = |(sku, quantity, cents): &(&str, u64, u64)| json!({ "sku": sku, "quantity": quantity, "cents": cents });
        match self.garbled {
            Some(garbled) => garbled.to_owned(),
            None => json!(self.lines.iter().map(line).collect::<Vec<_>>()).to_string(),
        }
    }
}

/// Holds the ERP's sales against the orders: each once, and right to the cent.
pub fn hold(orders: &[Order], customers: &[String], sales: &[Sale]) {
    let ids = sales.iter().map(|sale| sale.order.as_str()).collect::<Vec<_>>();
    assert_eq!(sales.len(), orders.len(), "each order is in the ERP once: {ids:?}");
    for order in orders {
        let sale = sales.iter().find(|sale| sale.order == order.id).expect("the order is there");
        let buyer = &BUYERS[order.buyer];
        let [street, city, postal_code, _] = buyer.address;
        assert_eq!(sale.state, "processing", "{sale:?}");
        assert_eq!(sale.total, order.cents(), "{sale:?}");
        assert_eq!(sale.party, [&*customers[order.buyer], buyer.name, buyer.email], "{sale:?}");
        assert_eq!(sale.addresses, [[street, city, postal_code]], "{sale:?}");
        let line = |(sku, quantity, price): &(&str, u64, u64)| {
            ((*sku).to_owned(), *quantity as f64, *price)
        };
        assert_eq!(sale.lines, order.lines.iter().map(line).collect::<Vec<_>>(), "{sale:?}");
    }
}

/// Prints what became of each order.
pub fn print(orders: &[Order], sales: &[Sale], outbox: &Outbox) {
    println!(
        "order         event               sales  number  party               lines  total      state"
    );
    for order in orders {
        let mut same = sales.iter().filter(|sale| sale.order == order.id);
        let event = outbox.event_of(&order.id).unwrap_or_default();
        let (first, others) = (same.next(), same.count());
        let Some(Sale { number, party: [code, ..], lines, total, state, .. }) = first else {
            println!("{:<12}  {event:<18}  0", order.id);
            continue;
        };
        println!(
            "{:<12}  {event:<18}  {:<5}  {number:<6}  {code:<18}  {:<5}  {:>9}  {state}",
            order.id,
            1 + others,
            lines.len(),
            money(*total)
        );
    }
}

/// `12.30`.
pub fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
