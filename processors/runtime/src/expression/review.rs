//! What VRL's compiler does not check: operators on decimals, fields that the schema lacks,
//! functions that reach outside, `return`, and how deep the text nests.

use std::collections::BTreeMap;
use std::ops::Range;

use vrl::diagnostic::Span;
use vrl::parser::Program;
use vrl::parser::ast::{
    Assignment, AssignmentTarget, Block, Container, Expr, FunctionArgument, FunctionCall,
    FunctionClosure, IfStatement, Literal, Node, Op, Opcode, Predicate, Query, QueryTarget,
    RootExpr, Unary,
};
use vrl::path::{OwnedTargetPath, OwnedValuePath, PathPrefix};

use super::diagnostic::Diagnostic;
use super::shape::Shape;
use super::{decimal, functions, metadata};

/// How deep expressions may stand in each other: running one recurses, on threads whose stacks are
/// not ours.
const DEEPEST: usize = 128;

/// How deep closures may stand in each other: VRL's compiler takes twice as long for each level.
const DEEPEST_CLOSURES: usize = 6;

/// What a walk over a program has found.
pub(super) struct Reviewed {
    pub(super) mistakes: Vec<Diagnostic>,
    pub(super) assignments: Vec<Assigned>,
}

/// A place where a program assigns to `.`.
#[derive(Debug, Clone)]
pub(super) struct Assigned {
    pub(super) path: OwnedValuePath,
    /// The bytes of the text that name the path.
    pub(super) span: Range<usize>,
}

/// Walks a program.
pub(super) fn review(text: &str, ast: Program, input: &Shape) -> Reviewed {
    let scope = Scope {
        event: input.clone(),
        metadata: Shape::new(metadata::kind(), &[]),
        variables: BTreeMap::new(),
    };
    let mut review =
        Review { text, scope, depth: 0, closures: 0, found: Vec::new(), assignments: Vec::new() };
    for root in ast {
        if let RootExpr::Expr(node) = root.into_inner() {
            review.expression(node);
        }
    }
    Reviewed { mistakes: review.found, assignments: review.assignments }
}

struct Review<'a> {
    text: &'a str,
    scope: Scope,
    depth: usize,
    closures: usize,
    found: Vec<Diagnostic>,
    assignments: Vec<Assigned>,
}

/// What is known at one point of the program.
#[derive(Clone)]
struct Scope {
    event: Shape,
    metadata: Shape,
    variables: BTreeMap<String, Shape>,
}

impl Scope {
    /// Either of two ways that a program may have come to one point.
    fn union(mut self, other: Self) -> Self {
        self.event = self.event.union(other.event);
        for (name, theirs) in other.variables {
            let either = match self.variables.remove(&name) {
                Some(ours) => ours.union(theirs),
                None => theirs,
            };
            self.variables.insert(name, either);
        }
        self
    }
}

impl Review<'_> {
    fn report(&mut self, span: Span, code: &'static str, cause: String, hint: &str) {
        self.found.push(Diagnostic::new(span.range(), code, cause, hint));
    }

    fn source(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default().trim()
    }

    fn expression(&mut self, node: Node<Expr>) -> Shape {
        self.depth += 1;
        let shape = if self.depth > DEEPEST {
            self.too_deep(node.span(), DEEPEST, "expressions");
            Shape::computed()
        } else {
            self.shape(node)
        };
        self.depth -= 1;
        shape
    }

    fn too_deep(&mut self, span: Span, most: usize, what: &str) {
        if !self.found.iter().any(|one| one.code == "too_deep") {
            let cause = format!("More than {most} {what} stand in each other here.");
            self.report(span, "too_deep", cause, "Keep intermediate results in variables.");
        }
    }

    fn shape(&mut self, node: Node<Expr>) -> Shape {
        let (span, expression) = node.take();
        match expression {
            Expr::Container(container) => self.container(container.into_inner()),
            Expr::IfStatement(branches) => self.branches(branches.into_inner()),
            Expr::Op(operation) => self.operation(operation.into_inner()),
            Expr::Assignment(assignment) => self.assignment(assignment.into_inner()),
            Expr::Query(query) => self.query(span, query.into_inner()),
            Expr::FunctionCall(call) => self.call(call.into_inner()),
            Expr::Variable(name) => self.variable(&name),
            Expr::Unary(unary) => {
                let Unary::Not(not) = unary.into_inner();
                self.expression(*not.into_inner().take().1);
                Shape::computed()
            }
            Expr::Abort(abort) => {
                abort.into_inner().message.map(|message| self.expression(*message));
                Shape::computed()
            }
            Expr::Return(value) => {
                self.returned(span);
                self.expression(*value.into_inner().expr)
            }
            Expr::Literal(_) | Expr::Break(_) => Shape::computed(),
        }
    }

    fn returned(&mut self, span: Span) {
        let cause = "`return` leaves before the last line, so the result's type is not known.";
        let hint = "Use `if … { … } else { … }`; the last line's value is the result.";
        self.report(span, "no_return", cause.to_owned(), hint);
    }

    fn variable(&self, name: &str) -> Shape {
        self.scope.variables.get(name).cloned().unwrap_or_else(Shape::computed)
    }

    fn container(&mut self, container: Container) -> Shape {
        match container {
            Container::Group(group) => self.expression(group.into_inner().into_inner()),
            Container::Block(block) => self.block(block.into_inner()),
            Container::Array(items) => {
                let items = items.into_inner().into_iter().map(|item| self.expression(item));
                items.reduce(Shape::union).map_or_else(Shape::computed, Shape::collection_of)
            }
            Container::Object(fields) => {
                let fields = fields.into_inner().into_iter();
                let field =
                    |(name, value): (Node<String>, _)| (name.into_inner(), self.expression(value));
                Shape::object(fields.map(field).collect::<Vec<_>>())
            }
        }
    }

    fn block(&mut self, block: Block) -> Shape {
        let last = block.into_iter().map(|node| self.expression(node)).last();
        last.unwrap_or_else(Shape::computed)
    }

    fn branches(&mut self, branches: IfStatement) -> Shape {
        match branches.predicate.into_inner() {
            Predicate::One(condition) => drop(self.expression(*condition)),
            Predicate::Many(lines) => {
                lines.into_iter().for_each(|line| drop(self.expression(line)))
            }
        }
        let before = self.scope.clone();
        let then = self.block(branches.if_node.into_inner());
        let after = std::mem::replace(&mut self.scope, before);
        let otherwise = match branches.else_node {
            Some(block) => self.block(block.into_inner()),
            None => Shape::computed(),
        };
        self.scope = self.scope.clone().union(after);
        then.union(otherwise)
    }

    fn assignment(&mut self, assignment: Assignment) -> Shape {
        match assignment {
            Assignment::Single { target, expr, .. } => {
                let value = self.expression(*expr);
                self.assign(target, value.clone());
                value
            }
            Assignment::Infallible { ok, err, expr, .. } => {
                let value = self.expression(*expr);
                self.assign(ok, value.clone());
                self.assign(err, Shape::computed());
                value
            }
        }
    }

    fn assign(&mut self, target: Node<AssignmentTarget>, value: Shape) {
        let (span, target) = target.take();
        let root = OwnedValuePath::root;
        let (target, path) = match target {
            AssignmentTarget::Query(Query { target, path }) => {
                (target.into_inner(), path.into_inner())
            }
            AssignmentTarget::Internal(name, path) => {
                (QueryTarget::Internal(name), path.unwrap_or_else(root))
            }
            AssignmentTarget::External(path) => {
                let OwnedTargetPath { prefix, path } =
                    path.unwrap_or_else(OwnedTargetPath::event_root);
                (QueryTarget::External(prefix), path)
            }
            AssignmentTarget::Noop => return,
        };
        match target {
            QueryTarget::Internal(name) => {
                let variable = self.scope.variables.entry(name.into_inner());
                variable.or_insert_with(Shape::computed).set(&path, value);
            }
            QueryTarget::External(PathPrefix::Event) => {
                self.scope.event.set(&path, value);
                self.assignments.push(Assigned { path, span: span.range() });
            }
            // The compiler refuses these.
            QueryTarget::External(PathPrefix::Metadata)
            | QueryTarget::FunctionCall(_)
            | QueryTarget::Container(_) => {}
        }
    }

    fn query(&mut self, span: Span, query: Query) -> Shape {
        let path = query.path.into_inner();
        let (named, base) = match query.target.into_inner() {
            QueryTarget::External(PathPrefix::Event) => (".".to_owned(), self.scope.event.clone()),
            QueryTarget::External(PathPrefix::Metadata) => {
                ("%".to_owned(), self.scope.metadata.clone())
            }
            QueryTarget::Internal(name) => (format!("{}.", &*name), self.variable(&name)),
            QueryTarget::FunctionCall(call) => (String::new(), self.call(call)),
            QueryTarget::Container(container) => (String::new(), self.container(container)),
        };
        let found = base.at(&path);
        if found.kind.is_undefined() && !path.is_root() {
            self.unknown_field(span, &named, &base, &path);
        }
        found
    }

    /// Says which part of the path does not exist, and which name is near.
    fn unknown_field(&mut self, span: Span, named: &str, base: &Shape, path: &OwnedValuePath) {
        let mut known = OwnedValuePath::root();
        for segment in &path.segments {
            let parent = base.kind.at_path(&known);
            let holder = format!("{named}{known}");
            known.push_segment(segment.clone());
            if !base.kind.at_path(&known).is_undefined() {
                continue;
            }
            let (cause, hint) = match parent.as_object() {
                Some(fields) => {
                    let fields = fields.known().keys().map(ToString::to_string).collect();
                    let cause = format!("There is no `{named}{known}`.");
                    (cause, nearest(&segment.to_string(), fields))
                }
                None => (format!("`{holder}` is {parent}, which has no fields."), String::new()),
            };
            return self.report(span, "unknown_field", cause, &hint);
        }
    }

    fn operation(&mut self, operation: Op) -> Shape {
        let Op(left, opcode, right) = operation;
        let spans = (left.span(), right.span());
        let nulls = is_null(&left) || is_null(&right);
        let (left, right) = (self.expression(*left), self.expression(*right));
        let opcode = opcode.into_inner();
        match opcode {
            Opcode::Err | Opcode::Or | Opcode::Merge => return left.union(right),
            Opcode::And => return right,
            _ => {}
        }
        let about_null = nulls && matches!(opcode, Opcode::Eq | Opcode::Ne);
        if (left.is_decimal() || right.is_decimal()) && !about_null {
            let decimal = if left.is_decimal() { spans.0 } else { spans.1 };
            self.decimal_operator(spans, opcode, decimal);
        }
        Shape::computed()
    }

    fn decimal_operator(&mut self, (left, right): (Span, Span), opcode: Opcode, decimal: Span) {
        let operand = |span: Span| {
            let text = self.source(span.range());
            // A float's digits are kept when it is written as a text.
            if text.parse::<f64>().is_ok() { format!("\"{text}\"") } else { text.to_owned() }
        };
        let call = match opcode {
            Opcode::Lt => "decimal_less!",
            Opcode::Le => "decimal_less_or_equal!",
            Opcode::Gt => "decimal_greater!",
            Opcode::Ge => "decimal_greater_or_equal!",
            Opcode::Eq => "decimal_equal!",
            Opcode::Ne => "!decimal_equal!",
            Opcode::Add => "decimal_add!",
            Opcode::Sub => "decimal_subtract!",
            Opcode::Mul => "decimal_multiply!",
            _ => "decimal_divide!",
        };
        let scale = if opcode == Opcode::Div { ", 2" } else { "" };
        let mut hint = format!("Write `{call}({}, {}{scale})`.", operand(left), operand(right));
        if opcode == Opcode::Add {
            hint.push_str(" To put it into a text, write \"… {{ name }} …\" with a variable.");
        }
        let what = self.source(decimal.range());
        let cause = match opcode {
            Opcode::Add | Opcode::Sub | Opcode::Mul | Opcode::Div => format!(
                "`{what}` is a decimal, which VRL holds as text: `{opcode}` does not compute with it."
            ),
            _ => format!(
                "`{what}` is a decimal, which VRL holds as text: `{opcode}` would compare letters, \
                 and \"9.00\" > \"100.00\"."
            ),
        };
        self.report(Span::new(left.start(), right.end()), "decimal_operator", cause, &hint);
    }

    fn call(&mut self, call: FunctionCall) -> Shape {
        let (span, name) = call.ident.take();
        if let Some(reason) = functions::refused(&name) {
            let cause = format!("`{}` may not be called here.", &*name);
            self.report(span, "refused_function", cause, reason);
        }
        let arguments: Vec<_> = call
            .arguments
            .into_iter()
            .map(|argument| self.argument(argument.into_inner()))
            .collect();
        let positional = || arguments.iter().find(|(name, _)| name.is_none());
        let value = arguments.iter().find(|(name, _)| name.as_deref() == Some("value"));
        let value =
            value.or_else(positional).map_or_else(Shape::computed, |(_, shape)| shape.clone());
        if value.is_decimal() {
            self.decimal_as_number(span, &name);
        }
        let body = call.closure.map(|closure| self.closure(closure, &name, &value));
        match &*name {
            "map_values" => body.map_or_else(Shape::computed, Shape::collection_of),
            "filter" | "compact" | "unique" | "slice" | "array" | "object" | "string"
            | "to_string" | "del" | "strip_whitespace" => value,
            "push" | "append" | "merge" => {
                let others = arguments.into_iter().map(|(_, shape)| shape);
                let item = others.clone().fold(Shape::computed(), Shape::union);
                others.fold(Shape::collection_of(item), Shape::union)
            }
            "values" => Shape::collection_of(value.item()),
            name if decimal::gives_decimal(name) => Shape::decimal(),
            _ => Shape::computed(),
        }
    }

    fn argument(&mut self, argument: FunctionArgument) -> (Option<String>, Shape) {
        let name = argument.ident.map(|name| name.into_inner().into_inner());
        (name, self.expression(argument.expr))
    }

    fn decimal_as_number(&mut self, span: Span, name: &str) {
        let hint = match name {
            "to_float" | "parse_float" => {
                "Compute with `decimal_add`, `decimal_multiply` and the like."
            }
            "to_int" | "parse_int" => "Use `decimal_to_integer!`, or `decimal_round!` before it.",
            _ => return,
        };
        let cause = format!("`{name}` on a decimal loses digits, or fails on its point.");
        self.report(span, "decimal_as_float", cause, hint);
    }

    fn closure(&mut self, closure: Node<FunctionClosure>, name: &str, value: &Shape) -> Shape {
        let (span, closure) = closure.take();
        if self.closures == DEEPEST_CLOSURES {
            self.too_deep(span, DEEPEST_CLOSURES, "closures");
            return Shape::computed();
        }
        self.closures += 1;
        let before = self.scope.clone();
        let count = closure.variables.len();
        for (index, variable) in closure.variables.into_iter().enumerate() {
            // The last one is the item; the one before it, or the only one of `map_keys`, the key.
            let is_item = index + 1 == count && name != "map_keys";
            let shape = if is_item { value.item() } else { Shape::computed() };
            self.scope.variables.insert(variable.into_inner().into_inner(), shape);
        }
        let body = self.block(closure.block.into_inner());
        // It runs for each item, or for none.
        self.scope = self.scope.clone().union(before);
        self.closures -= 1;
        body
    }
}

fn is_null(node: &Node<Expr>) -> bool {
    matches!(node.inner(), Expr::Literal(literal) if *literal.inner() == Literal::Null)
}

/// A hint with the name that was probably meant, or with all of them when they are few.
fn nearest(name: &str, known: Vec<String>) -> String {
    let likeness = |known: &String| strsim::jaro_winkler(name, known);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best {
        Some(best) if likeness(best) > 0.8 => format!("Did you mean `{best}`?"),
        Some(_) if known.len() <= 12 => format!("It has {}.", known.join(", ")),
        _ => String::new(),
    }
}
