//! The texts of the built-in events' schemas, the files of `schemas/events/`.

/// `order.avsc`: an order placed in a shop, `passerelle.shop.Order`.
pub const ORDER: &str = include_str!("../events/order.avsc");

/// `sale.avsc`: a sale as an ERP books it, `passerelle.erp.Sale`.
pub const SALE: &str = include_str!("../events/sale.avsc");
