//! The engine: events, the three traits, routes and their delivery.
//!
//! A **source** turns what an application says into events on one topic, a **processor** reads
//! topics and writes topics, a **sink** delivers a topic to one application. Each is a **route** of a
//! **pipeline**. One rule holds everything: *an offset never passes an event until its target or its
//! dead-letter topic has acknowledged it.*

pub mod address;
pub mod allowance;
pub mod clock;
pub mod codec;
pub mod configuration;
pub mod connector;
pub mod contract;
mod cursor;
pub mod dead_letters;
mod delivery;
pub mod dispatch;
mod enrichment;
pub mod event;
pub mod expression;
pub mod fault;
pub mod kafka;
pub mod lookup;
pub mod metrics;
pub mod options;
pub mod outcomes;
mod outlet;
pub mod positions;
mod processing;
pub mod processor;
pub mod publisher;
pub mod replay;
pub mod runtime;
pub mod share;
pub mod shutdown;
pub mod sink;
pub mod source;
pub mod state;
pub mod study;

pub use connector::Catalogue;
pub use enrichment::{Enrichment, Found, OnMiss};
pub use event::{Event, Headers};
pub use fault::{Domain, Fault, Retry};
pub use lookup::Lookup;
pub use metrics::Metrics;
pub use processor::{Emit, Emitted, Processor};
pub use runtime::{Engine, Plan};
pub use shutdown::{Shutdown, ShutdownTrigger};
pub use sink::{Delivery, Order, Sink};
pub use source::{Draft, Publisher, Source};

/// The value of an event: what an Avro payload decodes to and what VRL works on.
pub use vrl::value::Value;
