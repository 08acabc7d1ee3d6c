//! The functions that expressions may call: VRL's own, without those that reach outside or depend
//! on chance or the clock.

use std::sync::LazyLock;

use vrl::compiler::expression::Block;
use vrl::compiler::function::closure::{Definition, Runner};
use vrl::compiler::prelude::*;
use vrl::parser::ast::Ident;

use super::decimal;

/// The functions that expressions may call.
pub(super) static ALL: LazyLock<Vec<Box<dyn Function>>> = LazyLock::new(|| {
    let ours = |name: &str| refused(name).is_none() && name != MapValues.identifier();
    let standard = vrl::stdlib::all().into_iter().filter(|function| ours(function.identifier()));
    let decimals = decimal::ALL.iter().map(|function| Box::new(function) as Box<dyn Function>);
    let corrected: [Box<dyn Function>; 1] = [Box::new(MapValues)];
    standard.chain(decimals).chain(corrected).collect()
});

const CLOCK: &str = "A replay must give what the first run gave, so there is no clock: use \
     `%timestamp` (when the event was received) or a time of the event itself.";
const CHANCE: &str = "A replay must give what the first run gave, so there is no chance: use `%id`, \
     the event's own id.";
const YEAR: &str = "It takes the year from today's date, so a replay could give something else.";
const OUTSIDE: &str = "An expression reaches nothing outside the event.";

/// Why a function of VRL's standard library may not be called here; nothing when it may.
pub(super) fn refused(name: &str) -> Option<&'static str> {
    Some(match name {
        "now" => CLOCK,
        "uuid_v4" | "uuid_v7" | "random_bool" | "random_bytes" | "random_float" | "random_int" => {
            CHANCE
        }
        "parse_klog" | "parse_linux_authorization" | "parse_syslog" => YEAR,
        "log" => "It writes to the process's log for every event. Give the value a field instead.",
        "get_env_var" => "Write `${VAR}` in the file: it is put in before the expression is read.",
        "parse_groks" => "It reads files. Use `parse_grok`.",
        "dns_lookup"
        | "reverse_dns"
        | "http_request"
        | "get_hostname"
        | "get_timezone_name"
        | "parse_proto"
        | "encode_proto"
        | "parse_etld"
        | "validate_json_schema" => OUTSIDE,
        _ => return None,
    })
}

/// VRL's `map_values`, for any value that turns out to be an array or an object, and with the right
/// type: VRL's own wants it asserted first (`array!(.lines)`), and keeps the type that the items had
/// where it does not know each by its name or index. It also copies each item for the closure; here the
/// closure has the item itself.
#[derive(Debug)]
struct MapValues;

const STANDARD: vrl::stdlib::MapValues = vrl::stdlib::MapValues;

impl Function for MapValues {
    fn identifier(&self) -> &'static str {
        STANDARD.identifier()
    }

    fn summary(&self) -> &'static str {
        STANDARD.summary()
    }

    fn usage(&self) -> &'static str {
        STANDARD.usage()
    }

    fn category(&self) -> &'static str {
        STANDARD.category()
    }

    fn return_kind(&self) -> u16 {
        STANDARD.return_kind()
    }

    fn parameters(&self) -> &'static [Parameter] {
        STANDARD.parameters()
    }

    fn examples(&self) -> &'static [Example] {
        STANDARD.examples()
    }

    fn closure(&self) -> Option<Definition> {
        let mut definition = STANDARD.closure()?;
        definition.inputs.iter_mut().for_each(|input| input.kind = Kind::any());
        Some(definition)
    }

    fn compile(
        &self,
        state: &TypeState,
        ctx: &mut FunctionCompileContext,
        arguments: ArgumentList,
    ) -> Compiled {
        let closure = arguments.required_closure()?;
        let recursive = arguments.optional("recursive").is_some();
        let item = if recursive { Kind::any() } else { closure.block_type_def.kind().clone() };
        let each = (!recursive).then(|| {
            // A loop of VRL's has two variables; the first has no name here.
            let variables = [Ident::new("")].into_iter().chain(closure.variables).collect();
            Each { value: arguments.required("value"), variables, block: closure.block }
        });
        let mapped = STANDARD.compile(state, ctx, arguments)?;
        Ok(Box::new(Mapped { mapped, each, item }))
    }
}

/// A call of `map_values`, and the type of what it makes of each item.
#[derive(Debug, Clone)]
struct Mapped {
    mapped: Box<dyn Expression>,
    /// Without the parts of parts (`recursive`), which VRL's own sees to.
    each: Option<Each>,
    item: Kind,
}

/// A value, and what is made of each of its items.
#[derive(Debug, Clone)]
struct Each {
    value: Box<dyn Expression>,
    variables: Vec<Ident>,
    block: Block,
}

impl Each {
    fn resolve(&self, ctx: &mut Context<'_>) -> Resolved {
        let mut value = self.value.resolve(ctx)?;
        let runner = Runner::new(&self.variables, |ctx| self.block.resolve(ctx));
        let mut scope = runner.scoped_loop(ctx);
        let mut map = |item: &mut Value| {
            *item = scope.run_index_value(0, std::mem::replace(item, Value::Null))?;
            Ok::<_, ExpressionError>(())
        };
        match &mut value {
            Value::Array(items) => items.iter_mut().try_for_each(&mut map)?,
            Value::Object(fields) => fields.values_mut().try_for_each(&mut map)?,
            _ => {}
        }
        Ok(value)
    }
}

impl Expression for Mapped {
    fn resolve(&self, ctx: &mut Context<'_>) -> Resolved {
        let mapped = match &self.each {
            Some(each) => each.resolve(ctx),
            None => self.mapped.resolve(ctx),
        };
        match mapped? {
            collection @ (Value::Array(_) | Value::Object(_)) => Ok(collection),
            other => {
                Err(format!("expected an array or an object, got {}", other.kind_str()).into())
            }
        }
    }

    fn type_info(&self, state: &TypeState) -> TypeInfo {
        let mut info = self.mapped.type_info(state);
        let kind = info.result.kind_mut();
        if let Some(items) = kind.as_array_mut()
            && items.unknown_kind().contains_any_defined()
        {
            items.set_unknown(self.item.clone());
        }
        if let Some(values) = kind.as_object_mut()
            && values.unknown_kind().contains_any_defined()
        {
            values.set_unknown(self.item.clone());
        }
        info
    }
}
