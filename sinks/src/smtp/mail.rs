//! The mail that is made of an event: always the same of the same event.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine::connector::Setup;
use engine::expression::{CompiledTemplate, Template, sentence};
use engine::{Event, Fault};
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart, SinglePart, header};

use serde_json::{Value as Json, json};

use super::Options;

/// The last moment that a mail's date can name, in milliseconds since the Unix epoch: the end of 9999.
const LAST_DATE: u64 = 253_402_300_799_999;

/// What a route's mails are made by.
pub(super) struct Letter {
    route: Arc<str>,
    from: CompiledTemplate,
    to: CompiledTemplate,
    cc: Option<CompiledTemplate>,
    bcc: Option<CompiledTemplate>,
    reply_to: Option<CompiledTemplate>,
    subject: CompiledTemplate,
    text: Option<CompiledTemplate>,
    html: Option<CompiledTemplate>,
}

impl Letter {
    /// # Errors
    /// A `Config` fault when a template is wrong.
    pub fn compile(options: &Options, setup: &Setup) -> Result<Self, Fault> {
        let compile = |name: &str, template: &Template| {
            template.compile(setup).map_err(|mistakes| {
                let cause = format!("`{name}` is wrong: {}", sentence(&mistakes));
                Fault::config("template", cause)
            })
        };
        let perhaps = |name: &str, template: &Option<Template>| {
            template.as_ref().map(|template| compile(name, template)).transpose()
        };
        Ok(Self {
            route: Arc::clone(&setup.route),
            from: compile("mail_from", &options.mail_from)?,
            to: compile("mail_to", &options.mail_to)?,
            cc: perhaps("cc", &options.cc)?,
            bcc: perhaps("bcc", &options.bcc)?,
            reply_to: perhaps("reply_to", &options.reply_to)?,
            subject: compile("subject", &options.subject)?,
            text: perhaps("text", &options.text)?,
            html: perhaps("html", &options.html)?,
        })
    }

    /// The mail of an event as its parts, without what only the mail itself needs.
    ///
    /// # Errors
    /// As those of [`write`](Self::write).
    pub fn shown(&self, event: &Event) -> Result<Json, Fault> {
        self.write(event)?;
        let mut parts = json!({
            "from": self.from.render(event)?,
            "to": self.to.render(event)?,
            "subject": on_one_line(&self.subject.render(event)?),
        });
        let further = [
            ("cc", &self.cc),
            ("bcc", &self.bcc),
            ("reply_to", &self.reply_to),
            ("text", &self.text),
        ];
        for (name, template) in further {
            if let Some(template) = template {
                parts[name] = template.render(event)?.into();
            }
        }
        if let Some(html) = &self.html {
            parts["html"] = html.render_with(event, escaped)?.into();
        }
        Ok(parts)
    }

    /// # Errors
    /// A `Data` fault when the event has no address, or a template fails on it.
    pub fn write(&self, event: &Event) -> Result<Message, Fault> {
        let from = one("mail_from", &self.from.render(event)?)?;
        let key = event.idempotency_key(&self.route);
        let sent = u64::try_from(event.received()).unwrap_or_default().min(LAST_DATE);
        let mut mail = Message::builder()
            .message_id(Some(format!("<{key}@{}>", from.email.domain())))
            // When it was received, not now: a repeat is the same mail.
            .date(SystemTime::UNIX_EPOCH + Duration::from_millis(sent))
            .mailbox(header::To::from(several("mail_to", &self.to.render(event)?)?))
            .subject(on_one_line(&self.subject.render(event)?))
            .raw_header(by_a_machine())
            .from(from);
        if let Some(cc) = &self.cc {
            mail = mail.mailbox(header::Cc::from(several("cc", &cc.render(event)?)?));
        }
        if let Some(bcc) = &self.bcc {
            mail = mail.mailbox(header::Bcc::from(several("bcc", &bcc.render(event)?)?));
        }
        if let Some(reply_to) = &self.reply_to {
            mail =
                mail.mailbox(header::ReplyTo::from(several("reply_to", &reply_to.render(event)?)?));
        }
        let text = self.text.as_ref().map(|text| text.render(event)).transpose()?;
        let html = self.html.as_ref().map(|html| html.render_with(event, escaped)).transpose()?;
        let mail = match (text, html) {
            (Some(text), Some(html)) => mail.multipart(
                MultiPart::alternative()
                    .boundary(key)
                    .singlepart(SinglePart::plain(text))
                    .singlepart(SinglePart::html(html)),
            ),
            (None, Some(html)) => mail.singlepart(SinglePart::html(html)),
            (text, None) => mail.singlepart(SinglePart::plain(text.unwrap_or_default())),
        };
        mail.map_err(|error| Fault::data("mail_invalid", format!("No mail can be made: {error}.")))
    }
}

/// RFC 3834: nobody's holiday assistant need answer.
fn by_a_machine() -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned())
}

fn one(option: &str, text: &str) -> Result<Mailbox, Fault> {
    text.trim().parse().map_err(|error| no_address(option, text, &error))
}

fn several(option: &str, text: &str) -> Result<Mailboxes, Fault> {
    let mailboxes: Mailboxes =
        text.trim().parse().map_err(|error| no_address(option, text, &error))?;
    if mailboxes.iter().next().is_none() {
        return Err(Fault::data("address_missing", format!("`{option}` gives no address.")));
    }
    Ok(mailboxes)
}

fn no_address(option: &str, text: &str, error: &impl std::fmt::Display) -> Fault {
    let message = format!(
        "`{option}` gives `{}`, which is no mail address ({error}); write `anna@example.com` or \
         `Anna <anna@example.com>`.",
        on_one_line(text)
    );
    Fault::data("address_invalid", message)
}

/// A header ends with its line: what comes after a line break would be another one.
fn on_one_line(text: &str) -> String {
    text.split(|c: char| c.is_control())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// As it can stand in HTML, between tags and in quoted attributes.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}
