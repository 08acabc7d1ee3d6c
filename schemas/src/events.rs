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

/// `party.avsc`: a person or a company, as an ERP keeps it, `passerelle.erp.party.Party`.
pub const PARTY: &str = include_str!("../events/party.avsc");

/// `product.avsc`: a product, as an ERP sells it, `passerelle.erp.product.Product`.
pub const PRODUCT: &str = include_str!("../events/product.avsc");

/// `invoice.avsc`: an invoice to a customer, `passerelle.erp.invoice.Invoice`.
pub const INVOICE: &str = include_str!("../events/invoice.avsc");

/// `payment.avsc`: a payment of a customer's invoice, `passerelle.erp.payment.Payment`.
pub const PAYMENT: &str = include_str!("../events/payment.avsc");
