//! Templates of e-mails and requests: minijinja's own syntax, or Graylog's JMTE as it is. Pure.
//!
//! A template is strict when it is loaded and mild when it runs: an unknown name is an error at load,
//! while a message that lacks a field prints nothing there, since an alert must go out. Work and output
//! are bounded, whatever an alert holds.

use std::{fmt, io, sync::Arc};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, HtmlEscape, Output, UndefinedBehavior, Value,
    syntax::SyntaxConfig,
};

use super::{
    Notice, check, jmte,
    model::Model,
    sample::{bare, sample},
};

mod filters;
mod text;

/// The longest text that a template gives, in bytes: 1 MiB.
pub const LONGEST: usize = 1 << 20;

/// Steps of minijinja that one rendering may take: thousands for each of 500 messages.
const FUEL: u64 = 2_000_000;

/// The name under which the one template of an environment is kept.
const NAME: &str = "template";

/// Of what kind the text is that a template gives, so that an alert's text stays text in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Plain text.
    None,
    /// HTML: `<`, `>`, `&` and quotes are escaped.
    Html,
    /// JSON: what is printed stands between the quotes of a string, `"${event.message}"`; `|tojson`
    /// gives a whole value.
    Json,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// Where, from 1; 0 where it is not known.
    pub line: usize,
    /// What, and what to do.
    pub what: String,
}

impl Fault {
    /// A fault in a line.
    pub fn at(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }

    pub(super) fn of(fault: &Error) -> Self {
        let mut what = match fault.kind() {
            ErrorKind::OutOfFuel => "takes too much work (a loop within a loop?)".to_owned(),
            kind => fault.detail().map_or_else(|| kind.to_string(), str::to_owned),
        };
        if fault.kind() == ErrorKind::UnknownFilter || fault.kind() == ErrorKind::UnknownFunction {
            what.push_str("; see docs/templates.md for those that there are");
        }
        Self::at(fault.line().unwrap_or_default(), what)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        f.write_str(&self.what)
    }
}

/// A template that was found right.
#[derive(Clone, Debug)]
pub struct Template {
    environment: Arc<Environment<'static>>,
}

impl Template {
    /// Reads a template: JMTE where it holds `${…}`, else minijinja's syntax. One that begins with a
    /// comment of minijinja, `{# … #}`, is minijinja's in any case.
    ///
    /// # Errors
    /// [`Fault`]: bad syntax, unknown names, filters and formats.
    pub fn compile(text: &str, escape: Escape) -> Result<Self, Fault> {
        let source = if jmte::is_jmte(text) && !text.trim_start().starts_with("{#") {
            check::is_not_mixed(text)?;
            jmte::translate(text)?
        } else {
            check::names(text)?;
            text.to_owned()
        };
        let mut environment = environment(escape);
        environment.add_template_owned(NAME, source).map_err(|fault| Fault::of(&fault))?;
        let template = Self { environment: Arc::new(environment) };
        template.render(&sample())?;
        template.render(&bare()).map_err(|fault| {
            let what = format!("fails for an alert that lacks it: {}; add |or_else(…)", fault.what);
            Fault::at(fault.line, what)
        })?;
        Ok(template)
    }

    /// The text for an alert.
    ///
    /// # Errors
    /// [`Fault`]: what the template does cannot be done with this alert, or takes too much work.
    pub fn render(&self, notice: &Notice) -> Result<String, Fault> {
        self.render_model(&Model::of(notice))
    }

    /// The same for several templates of one alert.
    ///
    /// A text that is longer than [`LONGEST`], or takes too much work, is made again with half of the
    /// backlog, and so on; what is too long without any is cut.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_model(&self, model: &Model) -> Result<String, Fault> {
        let mut shown = model.backlog_len();
        loop {
            match self.render_some(model.values(shown)) {
                Ok((text, true)) => return Ok(text),
                Ok((text, false)) if shown == 0 => return Ok(text + "\n(cut: longer than 1 MiB)\n"),
                Err(fault) if shown == 0 || fault.kind() != ErrorKind::OutOfFuel => {
                    return Err(Fault::of(&fault));
                }
                Ok(_) | Err(_) => shown /= 2,
            }
        }
    }

    /// The text for an alert; where that cannot be made, the text of another template that ends with
    /// the reason. So an alert goes out whatever it holds.
    ///
    /// # Errors
    /// As [`render`](Self::render), where the other one fails as well.
    pub fn render_or(&self, usual: &Self, model: &Model) -> Result<String, Fault> {
        self.render_model(model).or_else(|fault| {
            let text = usual.render_model(model)?;
            Ok(format!("{text}\n(the template of this text failed: {fault})\n"))
        })
    }

    /// The text, and whether it is all of it.
    fn render_some(&self, values: Value) -> Result<(String, bool), Error> {
        let template = self.environment.get_template(NAME)?;
        let mut bounded = Bounded::default();
        let rendered = template.render_captured_to(values, &mut bounded).map(drop);
        match rendered {
            Err(fault) if !bounded.is_over => Err(fault),
            _ => {
                // What was cut may end within a letter.
                let text = String::from_utf8_lossy(&bounded.text);
                Ok((text.trim_end_matches('\u{fffd}').to_owned(), !bounded.is_over))
            }
        }
    }
}

/// The environment of one template.
pub(super) fn environment(escape: Escape) -> Environment<'static> {
    let mut environment = Environment::new();
    // With the usual delimiters this is never refused.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(move |_| match escape {
        Escape::None => AutoEscape::None,
        Escape::Html => AutoEscape::Html,
        Escape::Json => AutoEscape::Custom("json".into()),
    });
    environment.set_formatter(|output, state, value| {
        let text = text::of(value);
        let written = match state.auto_escape() {
            _ if value.is_safe() => output.write_str(&text),
            AutoEscape::Html => write_html(output, &text),
            AutoEscape::Custom(_) => output.write_str(text::inside_json(&text).as_str()),
            _ => output.write_str(&text),
        };
        written.map_err(Error::from)
    });
    filters::add(&mut environment);
    environment
}

fn write_html(output: &mut Output, text: &str) -> fmt::Result {
    write!(output, "{}", HtmlEscape(text))
}

/// Takes [`LONGEST`] bytes.
#[derive(Default)]
struct Bounded {
    text: Vec<u8>,
    is_over: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LONGEST.saturating_sub(self.text.len());
        self.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            self.is_over = true;
            return Err(io::Error::other("too long"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
