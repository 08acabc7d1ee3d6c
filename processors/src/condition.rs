//! Conditions: expressions that give true or false.

use engine::connector::{Finding, Place, Setup};
use engine::expression::{self, Expression, Program};
use engine::{Event, Fault, Value};

/// A condition of a step.
pub struct Condition {
    /// The step's name.
    step: &'static str,
    program: Program,
}

impl Condition {
    /// Compiles a condition of `step`.
    ///
    /// # Errors
    /// A `Config` fault when it does not compile.
    pub fn compile(
        step: &'static str,
        condition: &Expression,
        setup: &Setup,
    ) -> Result<Self, Fault> {
        let program = condition.compile(setup).map_err(|mistakes| {
            let mistakes = expression::sentence(&mistakes);
            Fault::config(step, format!("The {step} of {} is wrong: {mistakes}", setup.route))
        })?;
        Ok(Self { step, program })
    }

    /// Says that an expression at `pointer` may give something else than true or false. What does not
    /// compile is reported with every other expression of the file.
    pub fn mistake(
        noun: &str,
        condition: &Expression,
        pointer: &str,
        setup: &Setup,
    ) -> Option<Finding> {
        let program = condition.compile(setup).ok()?;
        let kind = program.kind();
        if kind.is_boolean() {
            return None;
        }
        let hint = if kind.contains_boolean() {
            "Compare it, `… == true`, or assert its type, `bool!(…)`."
        } else {
            "Compare, `.status == \"paid\"`, or ask whether it is there, `exists(.paid_at)`."
        };
        Some(Finding {
            place: Place::Route,
            pointer: pointer.to_owned(),
            span: Some(0..condition.0.trim_end().len()),
            warning: false,
            code: "not_a_condition",
            cause: format!("{noun} is true or false; this one may be {kind}."),
            hint: Some(hint.to_owned()),
        })
    }

    /// Whether it is true of an event.
    ///
    /// # Errors
    /// A `Data` fault when it fails, or gives something else.
    pub fn holds(&self, event: &Event, value: &Value) -> Result<bool, Fault> {
        match self.program.run(event, value)? {
            Value::Boolean(holds) => Ok(holds),
            other => {
                let (step, kind) = (self.step, other.kind_str());
                let message = format!("The {step} gave {kind}, not true or false.");
                Err(Fault::data("condition_failed", message))
            }
        }
    }
}
