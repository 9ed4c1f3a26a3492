//! Reads filters: tests, joined by `and`, `or`, `not` and parentheses. `and` binds closer than `or`.

use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

use super::Expression;
use super::error::{FilterError, near_word, nearest};
use super::lex::{Kind, Sign, Token, tokens};
use super::number::{Numbers, Order, number, range};
use super::test::{End, Side, Test};
use super::value::{JOINERS, Prefix, User, duration};
use super::word::Word;

/// Longer texts are nobody's filter.
const LONGEST: usize = 4096;

/// How deep parentheses and `not` may go.
const DEEPEST: usize = 32;

const A_TEST: &str = "expected a test such as state=close_wait or port>1024; the words are ";

pub(super) fn expression(text: &str) -> Result<Expression, FilterError> {
    let mut parser = Parser::new(text)?;
    let expression = parser.any(0)?;
    match parser.peek() {
        None => Ok(expression),
        // A group ends at what cannot begin a test, and so does the whole.
        Some(_) => Err(parser.fail("this closes nothing", "take it out, or open a parenthesis before")),
    }
}

/// The values of one word, all of the text.
pub(super) fn values(word: Word, text: &str) -> Result<Test, FilterError> {
    let mut parser = Parser::new(text)?;
    let test = match parser.order() {
        Some(order) => parser.compared(word, order, 0)?,
        None => parser.values(word)?,
    };
    match parser.peek() {
        None => Ok(test),
        Some(_) => Err(parser.fail("there is more behind the value", format!("expected {}", word.expects()))),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, FilterError> {
        if text.len() > LONGEST {
            let problem = format!("it is {} bytes long", text.len());
            return Err(FilterError::new("…", (0, 1), problem, format!("at most {LONGEST} bytes are read")));
        }
        Ok(Self { text, tokens: tokens(text)?, next: 0 })
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.next).map(|token| &token.kind)
    }

    /// An error at the next token, or at the end.
    fn fail(&self, problem: impl Into<String>, expected: impl Into<String>) -> FilterError {
        self.fail_at(self.next, problem, expected)
    }

    fn fail_at(&self, token: usize, problem: impl Into<String>, expected: impl Into<String>) -> FilterError {
        let end = (self.text.len(), self.text.len());
        let place = self.tokens.get(token).map_or(end, |token| token.place);
        FilterError::new(self.text, place, problem, expected)
    }

    /// Takes the next token if it is this sign, or the word for it.
    fn take(&mut self, sign: Sign) -> bool {
        let word = match sign {
            Sign::And => "and",
            Sign::Or => "or",
            Sign::Not => "not",
            _ => "",
        };
        let found = match self.peek() {
            Some(Kind::Sign(next)) => *next == sign,
            Some(Kind::Bare(text)) => !word.is_empty() && text.eq_ignore_ascii_case(word),
            _ => false,
        };
        self.next += usize::from(found);
        found
    }

    /// Tests with `or` between them.
    fn any(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut parts = vec![self.all(depth)?];
        while self.take(Sign::Or) {
            parts.push(self.all(depth)?);
        }
        Ok(single(parts, Expression::Any))
    }

    /// Tests with `and`, or nothing, between them.
    fn all(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut parts = vec![self.one(depth)?];
        loop {
            let is_joined = self.take(Sign::And);
            if !is_joined && !self.begins_a_test() {
                return Ok(single(parts, Expression::All));
            }
            parts.push(self.one(depth)?);
        }
    }

    fn begins_a_test(&self) -> bool {
        match self.peek() {
            None | Some(Kind::Sign(Sign::Close | Sign::Or)) => false,
            Some(Kind::Bare(text)) => !text.eq_ignore_ascii_case("or"),
            Some(_) => true,
        }
    }

    fn one(&mut self, depth: usize) -> Result<Expression, FilterError> {
        if depth >= DEEPEST {
            return Err(self.fail(format!("more than {DEEPEST} parentheses deep"), "write it more simply"));
        }
        if self.take(Sign::Not) {
            return Ok(Expression::Not(Box::new(self.one(depth + 1)?)));
        }
        let open = self.next;
        if self.take(Sign::Open) {
            let inner = self.any(depth + 1)?;
            if !self.take(Sign::Close) {
                return Err(self.fail_at(open, "this parenthesis is never closed", "expected a ) behind it"));
            }
            return Ok(inner);
        }
        self.test()
    }

    fn test(&mut self) -> Result<Expression, FilterError> {
        if let Some(states) = self.bare_states() {
            return Ok(Expression::Test(Test::State(states)));
        }
        let words = || Word::ALL.map(Word::name).join(", ");
        let Some(Kind::Bare(text)) = self.peek() else {
            let problem =
                if self.peek().is_some() { "no test begins like this" } else { "a test is missing" };
            return Err(self.fail(problem, format!("{A_TEST}{}", words())));
        };
        let Some(word) = Word::parse(text) else {
            let problem = format!("there is no word {text:?}");
            return Err(self.fail(
                problem,
                near_word(text).map_or_else(
                    || format!("{A_TEST}{}", words()),
                    |near| format!("did you mean {near}? The words are {}", words()),
                ),
            ));
        };
        self.next += 1;
        if word == Word::Kernel {
            return Ok(Expression::Test(Test::Kernel));
        }
        let sign = self.next;
        if self.take(Sign::NotEqual) {
            return Ok(Expression::Not(Box::new(Expression::Test(self.values(word)?))));
        }
        if let Some(order) = self.order() {
            return self.compared(word, order, sign).map(Expression::Test);
        }
        self.take(Sign::Equal);
        self.values(word).map(Expression::Test)
    }

    /// Takes a sign of comparison.
    fn order(&mut self) -> Option<Order> {
        let orders = [
            (Sign::Above, Order::Above),
            (Sign::AtLeast, Order::AtLeast),
            (Sign::Below, Order::Below),
            (Sign::AtMost, Order::AtMost),
        ];
        orders.into_iter().find(|(sign, _)| self.take(*sign)).map(|(_, order)| order)
    }

    /// States without a word before them, as `ss` takes them: one after the other, any of them will do.
    fn bare_states(&mut self) -> Option<Vec<TcpState>> {
        let mut states = Vec::new();
        while let Some(Kind::Bare(text)) = self.peek() {
            let Some(state) = TcpState::parse(text) else { break };
            states.push(state);
            self.next += 1;
        }
        (!states.is_empty()).then_some(states)
    }

    /// `port>1024`
    fn compared(&mut self, word: Word, order: Order, sign: usize) -> Result<Test, FilterError> {
        if word.is_time() {
            let (at, value) = self.value(word)?;
            let limit = duration(&value)
                .map_err(|problem| self.fail_at(at, problem, format!("expected {}", word.expects())))?;
            return Ok(Test::Time(word, order, limit));
        }
        let Some(most) = word.numbers() else {
            let expected = format!("expected = or !=, and {}", word.expects());
            return Err(self.fail_at(sign, format!("{word} is no number to compare with"), expected));
        };
        let (at, value) = self.value(word)?;
        let limit = number(&value, most)
            .map_err(|problem| self.fail_at(at, problem, format!("expected {}", word.expects())))?;
        if self.take(Sign::Comma) {
            self.next -= 1;
            return Err(
                self.fail("a comparison takes one number", format!("write it again: {word}… or {word}…"))
            );
        }
        Ok(numeric(word, Numbers::Compare(order, limit)))
    }

    /// The next value, and the token that it is.
    fn value(&mut self, word: Word) -> Result<(usize, String), FilterError> {
        let expected = format!("expected {}", word.expects());
        let value = match self.peek() {
            Some(Kind::Bare(value)) if JOINERS.iter().any(|joiner| joiner.eq_ignore_ascii_case(value)) => {
                let problem = format!("{word} has no value (if {value} is one, put it in quotes)");
                return Err(self.fail(problem, expected));
            }
            Some(Kind::Bare(value) | Kind::Quoted(value)) => value.clone(),
            _ => return Err(self.fail(format!("{word} has no value"), expected)),
        };
        self.next += 1;
        Ok((self.next - 1, value))
    }

    /// One value, or several with commas between them.
    fn values(&mut self, word: Word) -> Result<Test, FilterError> {
        if word.is_time() {
            let expected = format!("expected {}", word.expects());
            return Err(self.fail(format!("{word} is hardly ever an exact time"), expected));
        }
        let mut found = vec![self.value(word)?];
        while self.take(Sign::Comma) {
            found.push(self.value(word)?);
        }
        let expected = format!("expected {}", word.expects());
        if word == Word::OlderThan
            && let Some((second, _)) = found.get(1)
        {
            return Err(self.fail_at(*second, "one time is enough", expected));
        }
        let fail = |at: usize, problem: String| self.fail_at(at, problem, expected.as_str());
        if let Some(most) = word.numbers() {
            return Ok(numeric(word, Numbers::In(each(&found, |text| range(text, most), fail)?)));
        }
        Ok(match word {
            Word::State => Test::State(each(&found, state, fail)?),
            Word::Peer => Test::Address(Side::Remote, each(&found, Prefix::parse, fail)?),
            Word::Local => Test::Address(Side::Local, each(&found, Prefix::parse, fail)?),
            Word::Role => Test::Role(each(&found, role, fail)?),
            Word::User => Test::User(each(&found, user, fail)?),
            Word::Container => Test::Container(each(&found, name, fail)?),
            Word::Pod => Test::Pod(each(&found, name, fail)?),
            Word::Namespace => Test::Namespace(each(&found, name, fail)?),
            Word::Workload => Test::Workload(each(&found, name, fail)?),
            Word::SoftError => Test::SoftError(each(&found, name, fail)?),
            Word::Kernel => {
                each(&found, yes, fail)?;
                Test::Kernel
            }
            Word::OlderThan => {
                let times = each(&found, duration, fail)?;
                Test::OlderThan(times.into_iter().max().unwrap_or_default())
            }
            // Those with numbers have been dealt with.
            _ => Test::Process(each(&found, name, fail)?),
        })
    }
}

fn each<T>(
    values: &[(usize, String)],
    parse: impl Fn(&str) -> Result<T, String>,
    fail: impl Fn(usize, String) -> FilterError,
) -> Result<Vec<T>, FilterError> {
    values.iter().map(|(at, text)| parse(text).map_err(|problem| fail(*at, problem))).collect()
}

fn numeric(word: Word, numbers: Numbers) -> Test {
    match word {
        Word::LocalPort => Test::Port(End::Only(Side::Local), numbers),
        Word::RemotePort => Test::Port(End::Only(Side::Remote), numbers),
        Word::Pid => Test::Pid(numbers),
        Word::Netns => Test::Netns(numbers),
        word if word.is_figure() => Test::Figure(word, numbers),
        _ => Test::Port(End::Either, numbers),
    }
}

fn state(text: &str) -> Result<TcpState, String> {
    TcpState::parse(text).ok_or_else(|| match nearest(text, TcpState::RFC.into_iter().map(TcpState::name)) {
        Some(near) => format!("there is no state {text:?}, did you mean {near}?"),
        None => {
            format!("there is no state {text:?}: they are {}", TcpState::RFC.map(TcpState::name).join(", "))
        }
    })
}

fn role(text: &str) -> Result<Role, String> {
    let found = Role::ALL.into_iter().find(|role| role.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("there is no role {text:?}"))
}

/// A parameter must have a value, and a word that stands alone has only this one.
fn yes(text: &str) -> Result<(), String> {
    if text == "yes" { Ok(()) } else { Err(format!("{text:?} is not `yes`")) }
}

fn user(text: &str) -> Result<User, String> {
    let name = name(text)?;
    Ok(text.parse().map_or(User::Name(name), User::Uid))
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("an empty name matches nothing".into()) } else { Ok(text.to_owned()) }
}

fn single(mut parts: Vec<Expression>, several: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(last) if parts.is_empty() => last,
        Some(last) => {
            parts.push(last);
            several(parts)
        }
        None => several(parts),
    }
}
