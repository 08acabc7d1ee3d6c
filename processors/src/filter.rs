//! `filter`: lets an event pass, or not.

use engine::connector::{Findings, ProcessorConnector, Setup};
use engine::expression::Expression;
use engine::{Emit, Event, Fault, Processor, Value};

use crate::condition::Condition;

/// Lets the events pass for which its condition is true.
pub struct Filter {
    condition: Condition,
}

impl ProcessorConnector for Filter {
    const NAME: &'static str = "filter";
    const SUMMARY: &'static str = "Lets an event pass when its condition is true.";
    const EXAMPLE: &'static str = include_str!("../../docs/examples/large-orders/pipeline.yaml");
    type Options = Expression;

    fn check(condition: &Expression, setup: &Setup, findings: &mut Findings) {
        findings.0.extend(Condition::mistake("A filter", condition, "", setup));
    }

    fn build(condition: Expression, setup: &Setup) -> Result<Box<dyn Processor>, Fault> {
        Ok(Box::new(Self { condition: Condition::compile("filter", &condition, setup)? }))
    }
}

impl Processor for Filter {
    fn process(&self, event: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        if self.condition.holds(event, &value)? {
            out.send(value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use schemas::events;

    use super::*;
    use crate::fixture::{findings, order, process, setup};

    fn passes(condition: &str) -> bool {
        let setup = setup(events::ORDER, events::ORDER);
        let condition = Expression(condition.to_owned());
        let passed = process::<Filter>(condition, &setup, order()).unwrap();
        assert!(passed.is_empty() || passed == [order()], "what passes is unchanged");
        !passed.is_empty()
    }

    #[test]
    fn an_event_passes_when_its_condition_is_true() {
        assert!(passes(r#".currency == "EUR""#));
        assert!(!passes(r#".currency == "USD""#));
        assert!(passes(r#"decimal_greater!(.total, "9.00")"#), "61.97 is more than 9.00");
        assert!(!passes(r#"decimal_greater!(.total, "100.00")"#));
        assert!(passes(r#".note == null && %offset == 7 && %key == "c-7""#));
        assert!(passes("length(.lines) > 1"));
    }

    #[test]
    fn a_filter_that_is_no_condition_is_refused() {
        let setup = setup(events::ORDER, events::ORDER);
        let found = |text: &str| findings::<Filter>(text, &Expression(text.into()), &setup);
        assert_eq!(found(r#".currency == "EUR""#), [""; 0]);
        let [not_a_condition] = &found(".currency")[..] else { panic!() };
        assert!(
            not_a_condition.starts_with(
                r#"not_a_condition at ".currency": A filter is true or false; this one may be string."#
            ),
            "{not_a_condition}"
        );
    }

    #[test]
    fn a_filter_that_fails_sends_the_event_to_the_dead_letters() {
        let setup = setup(events::ORDER, events::ORDER);
        let condition = Expression(r#"to_int!(.id) > 3"#.into());
        let fault = process::<Filter>(condition, &setup, order()).unwrap_err();
        assert_eq!((fault.domain, fault.cause), (engine::Domain::Data, "expression_failed"));
    }

    #[test]
    fn a_filter_that_does_not_compile_builds_nothing() {
        let setup = setup(events::ORDER, events::ORDER);
        let fault = Filter::build(Expression(".total > 3".into()), &setup).err().unwrap();
        assert_eq!((fault.domain, fault.cause), (engine::Domain::Config, "filter"));
        assert!(fault.message.contains("decimal_greater!(.total, \"3\")"), "{fault}");
    }
}
