//! `branch`: chooses the topics that an event goes to.

use engine::connector::{Findings, ProcessorConnector, Setup, Target, topics_of};
use engine::expression::Expression;
use engine::{Emit, Event, Fault, Processor, Value};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::condition::Condition;

/// The word of `default` that drops an event.
const NONE: &str = "none";

/// The conditions, and what becomes of an event of which none is true.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Options {
    /// Which conditions count, if several are true.
    #[serde(default)]
    r#match: Match,
    /// The conditions, in order, each with its topic.
    #[schemars(length(min = 1))]
    cases: Vec<Case>,
    /// The topic of the events of which no condition is true, or `none` to drop them.
    default: String,
}

/// Which conditions count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Match {
    /// The first that is true: an event goes to one topic.
    #[default]
    First,
    /// All that are true: an event goes to each of their topics, once.
    All,
}

/// A condition and its topic.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
struct Case {
    /// The condition, in VRL.
    when: Expression,
    /// The topic of the events of which it is true.
    to: String,
}

/// Chooses the topics that an event goes to.
pub struct Branch {
    cases: Vec<(Condition, usize)>,
    first: bool,
    default: Option<usize>,
}

impl ProcessorConnector for Branch {
    const NAME: &'static str = "branch";
    const SUMMARY: &'static str =
        "Chooses the topics that an event goes to, by conditions: the last step, instead of `to`.";
    const EXAMPLE: &'static str = include_str!("../../docs/examples/orders-by-size/pipeline.yaml");
    type Options = Options;

    fn check(options: &Options, setup: &Setup, findings: &mut Findings) {
        for (at, case) in options.cases.iter().enumerate() {
            let pointer = format!("/cases/{at}/when");
            findings.0.extend(Condition::mistake("A condition", &case.when, &pointer, setup));
        }
    }

    fn targets(options: &Options) -> Vec<Target> {
        let case = |(at, case): (usize, &Case)| Target {
            pointer: format!("/cases/{at}/to"),
            topic: case.to.clone(),
        };
        let mut targets: Vec<_> = options.cases.iter().enumerate().map(case).collect();
        if options.default != NONE {
            targets.push(Target { pointer: "/default".into(), topic: options.default.clone() });
        }
        targets
    }

    fn build(options: Options, setup: &Setup) -> Result<Box<dyn Processor>, Fault> {
        let topics = topics_of(&Self::targets(&options));
        let place = |topic: &String| topics.iter().position(|known| known == topic);
        let mut cases = Vec::with_capacity(options.cases.len());
        for Case { when, to } in &options.cases {
            let condition = Condition::compile("branch", when, setup)?;
            cases.push((condition, place(to).unwrap_or_default()));
        }
        let first = options.r#match == Match::First;
        let default = Some(&options.default).filter(|topic| *topic != NONE).and_then(place);
        Ok(Box::new(Self { cases, first, default }))
    }
}

impl Processor for Branch {
    fn process(&self, event: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        let mut chosen: Option<Vec<usize>> = None;
        for (condition, to) in &self.cases {
            if !condition.holds(event, &value)? {
                continue;
            }
            if self.first {
                out.send_to(value, *to);
                return Ok(());
            }
            let chosen = chosen.get_or_insert_default();
            if !chosen.contains(to) {
                chosen.push(*to);
            }
        }
        let mut chosen = chosen.or_else(|| Some(vec![self.default?])).unwrap_or_default();
        let Some(last) = chosen.pop() else { return Ok(()) };
        chosen.into_iter().for_each(|to| out.send_to(value.clone(), to));
        out.send_to(value, last);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use schemas::events;
    use serde_json::json;

    use super::*;
    use crate::fixture::{emitted, findings, order, setup};

    fn options(options: serde_json::Value) -> Options {
        serde_json::from_value(options).unwrap()
    }

    /// The topics that the order goes to.
    fn topics(given: serde_json::Value) -> Vec<String> {
        let topics = topics_of(&Branch::targets(&options(given.clone())));
        let setup = setup(events::ORDER, events::ORDER);
        let emitted = emitted::<Branch>(options(given), &setup, order()).unwrap();
        assert!(emitted.iter().all(|one| one.value == order()), "what passes is unchanged");
        emitted.iter().map(|one| topics[one.to].clone()).collect()
    }

    fn cases(matching: &str, conditions: [&str; 3], default: &str) -> serde_json::Value {
        let [first, second, third] = conditions;
        let cases = json!([
            { "when": first, "to": "a" }, { "when": second, "to": "b" }, { "when": third, "to": "a" }
        ]);
        json!({ "match": matching, "cases": cases, "default": default })
    }

    #[test]
    fn an_event_goes_to_the_topic_of_the_first_condition_that_is_true() {
        assert_eq!(topics(cases("first", ["false", "true", "true"], "c")), ["b"]);
        let by_currency = [r#".currency == "USD""#, "false", r#".currency == "EUR""#];
        assert_eq!(topics(cases("first", by_currency, "c")), ["a"]);
    }

    #[test]
    fn an_event_goes_to_each_topic_of_all_that_are_true_once() {
        assert_eq!(topics(cases("all", ["true", "true", "true"], "c")), ["a", "b"]);
        assert_eq!(topics(cases("all", ["false", "true", "false"], "c")), ["b"]);
    }

    #[test]
    fn an_event_of_no_condition_follows_the_default() {
        for matching in ["first", "all"] {
            let none = ["false", "false", "false"];
            assert_eq!(topics(cases(matching, none, "c")), ["c"]);
            assert_eq!(topics(cases(matching, none, "b")), ["b"]);
            assert_eq!(topics(cases(matching, none, "none")), [""; 0]);
        }
    }

    #[test]
    fn a_case_that_is_no_condition_is_refused() {
        let setup = setup(events::ORDER, events::ORDER);
        let options = options(cases("first", ["true", ".currency", "true"], "c"));
        let [found] = &findings::<Branch>(".currency", &options, &setup)[..] else { panic!() };
        assert!(found.starts_with("not_a_condition at \".currency\": A condition is"), "{found}");
    }

    #[test]
    fn a_condition_that_fails_sends_the_event_to_the_dead_letters() {
        let setup = setup(events::ORDER, events::ORDER);
        let options = options(cases("all", ["true", "to_int!(.id) > 3", "true"], "c"));
        let fault = emitted::<Branch>(options, &setup, order()).unwrap_err();
        assert_eq!(fault.cause, "expression_failed");
    }
}
