//! How a function over decimals is called from VRL.

use std::cmp::Ordering;

use bigdecimal::RoundingMode;
use vrl::compiler::function::EnumVariant;
use vrl::compiler::prelude::*;
use vrl::value::Value;

use super::number::{Decimal, Failure};

/// One function, as VRL and the documentation see it.
#[derive(Debug)]
pub(in crate::expression) struct DecimalFunction {
    pub(in crate::expression) name: &'static str,
    pub(in crate::expression) summary: &'static str,
    pub(in crate::expression) parameters: &'static [Parameter],
    pub(in crate::expression) examples: &'static [Example],
    pub(super) work: Work,
}

/// What a function does with its operands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// From one decimal to another.
    One(fn(&Decimal) -> Result<Decimal, Failure>),
    /// From two decimals to one.
    Two(fn(&Decimal, &Decimal) -> Result<Decimal, Failure>),
    /// True or false.
    Holds(fn(Ordering) -> bool),
    /// -1, 0 or 1.
    Compare,
    /// Takes `scale` and `mode`.
    Round,
    /// Takes `by`, `scale` and `mode`.
    Divide,
    /// Takes an array.
    Sum,
    /// To VRL's integer.
    Whole,
}

pub(in crate::expression) const ROUNDING: &[EnumVariant] = &[
    EnumVariant { value: "half_even", description: "to the nearest, a tie to the even digit" },
    EnumVariant { value: "half_up", description: "to the nearest, a tie away from zero" },
    EnumVariant { value: "half_down", description: "to the nearest, a tie towards zero" },
    EnumVariant { value: "up", description: "away from zero" },
    EnumVariant { value: "down", description: "towards zero: cuts" },
    EnumVariant { value: "ceiling", description: "to the larger number" },
    EnumVariant { value: "floor", description: "to the smaller number" },
];

fn rounding(name: &[u8]) -> RoundingMode {
    match name {
        b"half_up" => RoundingMode::HalfUp,
        b"half_down" => RoundingMode::HalfDown,
        b"up" => RoundingMode::Up,
        b"down" => RoundingMode::Down,
        b"ceiling" => RoundingMode::Ceiling,
        b"floor" => RoundingMode::Floor,
        // The default of IEEE 754, Python and Tryton.
        _ => RoundingMode::HalfEven,
    }
}

impl Function for &'static DecimalFunction {
    fn identifier(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn usage(&self) -> &'static str {
        self.summary
    }

    fn category(&self) -> &'static str {
        Category::Number.as_ref()
    }

    fn return_kind(&self) -> u16 {
        match self.work {
            Work::Holds(_) => kind::BOOLEAN,
            Work::Compare | Work::Whole => kind::INTEGER,
            Work::One(_) | Work::Two(_) | Work::Round | Work::Divide | Work::Sum => kind::BYTES,
        }
    }

    fn parameters(&self) -> &'static [Parameter] {
        self.parameters
    }

    fn examples(&self) -> &'static [Example] {
        self.examples
    }

    fn compile(
        &self,
        state: &TypeState,
        _: &mut FunctionCompileContext,
        arguments: ArgumentList,
    ) -> Compiled {
        let mut operands = Vec::new();
        for parameter in self.parameters {
            if parameter.kind & kind::BYTES != 0 && parameter.enum_variants.is_none() {
                let argument = arguments.required(parameter.keyword);
                operands.push(Operand::new(parameter.keyword, argument, state)?);
            }
        }
        let values = arguments.optional("values");
        let scale = arguments.optional("scale");
        let names: Vec<Value> = ROUNDING.iter().map(|mode| mode.value.into()).collect();
        let mode = arguments.optional_enum("mode", &names, state)?;
        let mode = mode.as_ref().and_then(Value::as_bytes).map_or(&b""[..], |name| name);
        let mode = rounding(mode);
        let call = Call { function: self, operands, values, scale, mode, fallible: true };
        Ok(Call { fallible: call.can_fail(state), ..call }.as_expr())
    }
}

/// An argument that is a decimal: read once if it is written in the expression.
#[derive(Debug, Clone)]
enum Operand {
    Constant(Decimal),
    Computed { expression: Box<dyn Expression>, integer: bool },
}

impl Operand {
    fn new(
        keyword: &'static str,
        expression: Box<dyn Expression>,
        state: &TypeState,
    ) -> Result<Self, Box<dyn DiagnosticMessage>> {
        let Some(value) = expression.resolve_constant(state) else {
            let integer = expression.type_def(state).is_integer();
            return Ok(Self::Computed { expression, integer });
        };
        let error = "it is not a decimal number; write it like -1234.50";
        let wrong = |_| function::Error::InvalidArgument { keyword, value: value.clone(), error };
        Ok(Self::Constant(decimal(&value).map_err(wrong)?))
    }

    /// Whether it is a decimal for certain.
    fn certain(&self) -> bool {
        match self {
            Self::Constant(_) => true,
            Self::Computed { integer, .. } => *integer,
        }
    }

    fn resolve(&self, ctx: &mut Context<'_>) -> ExpressionResult<Decimal> {
        match self {
            Self::Constant(decimal) => Ok(decimal.clone()),
            Self::Computed { expression, .. } => decimal(&expression.resolve(ctx)?),
        }
    }
}

fn decimal(value: &Value) -> ExpressionResult<Decimal> {
    match value {
        Value::Integer(number) => Ok(Decimal::from(*number)),
        Value::String(text) => Decimal::parse(text).map_err(failed),
        Value::Bytes(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| "the decimal is not a text")?;
            Decimal::parse(text).map_err(failed)
        }
        other => Err(format!("expected a decimal's text or an integer, got {}", other.kind_str()))
            .map_err(ExpressionError::from),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is passed to map_err")]
fn failed(failure: Failure) -> ExpressionError {
    failure.to_string().into()
}

/// A call of a function.
#[derive(Debug, Clone)]
struct Call {
    function: &'static DecimalFunction,
    operands: Vec<Operand>,
    values: Option<Box<dyn Expression>>,
    scale: Option<Box<dyn Expression>>,
    mode: RoundingMode,
    fallible: bool,
}

impl Call {
    /// Whether it can fail with arguments of these types. Numbers that grow past the limit need
    /// operands longer than integers, or a computed scale.
    fn can_fail(&self, state: &TypeState) -> bool {
        let scaled = self.scale.as_ref().is_some_and(|scale| {
            let constant = scale.resolve_constant(state).and_then(|value| value.as_integer());
            !constant.is_some_and(|scale| (0..=100).contains(&scale))
        });
        let work = match self.function.work {
            Work::One(_) | Work::Two(_) | Work::Holds(_) | Work::Compare | Work::Round => false,
            Work::Divide => match self.operands.get(1) {
                Some(Operand::Constant(by)) => by.is_zero(),
                _ => true,
            },
            Work::Whole => true,
            Work::Sum => !self.values.as_ref().is_some_and(|values| {
                let kind = values.type_def(state);
                kind.as_array().is_some_and(|items| items.reduced_kind().is_integer())
            }),
        };
        work || scaled || !self.operands.iter().all(Operand::certain)
    }

    fn operand(&self, index: usize, ctx: &mut Context<'_>) -> ExpressionResult<Decimal> {
        let operand = self.operands.get(index).ok_or("an argument is missing")?;
        operand.resolve(ctx)
    }

    fn scale(&self, ctx: &mut Context<'_>) -> ExpressionResult<i64> {
        let scale = self.scale.as_ref().ok_or("the scale is missing")?;
        Ok(scale.resolve(ctx)?.try_integer()?)
    }

    fn sum(&self, ctx: &mut Context<'_>) -> ExpressionResult<Decimal> {
        let values = self.values.as_ref().ok_or("the array is missing")?;
        let values = values.resolve(ctx)?.try_array()?;
        values
            .iter()
            .try_fold(Decimal::from(0), |sum, value| sum.add(&decimal(value)?).map_err(failed))
    }
}

impl FunctionExpression for Call {
    fn resolve(&self, ctx: &mut Context<'_>) -> Resolved {
        let number = match self.function.work {
            Work::One(work) => work(&self.operand(0, ctx)?),
            Work::Two(work) => work(&self.operand(0, ctx)?, &self.operand(1, ctx)?),
            Work::Holds(holds) => {
                let order = self.operand(0, ctx)?.compare(&self.operand(1, ctx)?);
                return Ok(holds(order).into());
            }
            Work::Compare => {
                let order = self.operand(0, ctx)?.compare(&self.operand(1, ctx)?);
                return Ok(i64::from(order as i8).into());
            }
            Work::Round => self.operand(0, ctx)?.round(self.scale(ctx)?, self.mode),
            Work::Divide => {
                let (value, by) = (self.operand(0, ctx)?, self.operand(1, ctx)?);
                value.divide(&by, self.scale(ctx)?, self.mode)
            }
            Work::Sum => Ok(self.sum(ctx)?),
            Work::Whole => return Ok(self.operand(0, ctx)?.whole().map_err(failed)?.into()),
        };
        Ok(number.map_err(failed)?.text().into())
    }

    fn type_def(&self, _: &TypeState) -> TypeDef {
        let kind = match self.function.work {
            Work::Holds(_) => Kind::boolean(),
            Work::Compare | Work::Whole => Kind::integer(),
            _ => Kind::bytes(),
        };
        TypeDef::from(kind).maybe_fallible(self.fallible)
    }
}
