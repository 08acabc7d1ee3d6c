//! The texts of the built-in events' schemas, the files of `schemas/events/`.

/// `order.avsc`: an order placed in a shop, `passerelle.shop.Order`.
pub const ORDER: &str = include_str!("../events/order.avsc");

/// `contact.avsc`: a person as a CRM knows them, `passerelle.crm.Contact`.
pub const CONTACT: &str = include_str!("../events/contact.avsc");

/// `sale.avsc`: a sale as an ERP books it, `passerelle.erp.Sale`.
pub const SALE: &str = include_str!("../events/sale.avsc");

/// `tick.avsc`: a time that has come, `passerelle.schedule.Tick`.
pub const TICK: &str = include_str!("../events/tick.avsc");

/// `line.avsc`: a line of an order, `passerelle.shop.OrderLine`.
pub const LINE: &str = include_str!("../events/line.avsc");
