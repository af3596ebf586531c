//! Reads a formula's text: letters become tokens, tokens become a tree. What columns there are is not known here.

use super::{Factor, FormulaError, Node, Offset, Response, Tree};

/// Longer than anybody writes.
const MAX_LENGTH: usize = 100_000;

/// Brackets in brackets.
const MAX_DEPTH: usize = 100;

/// Products in one term, which are brackets in brackets too.
const MAX_PRODUCTS: usize = 100;

const FUNCTIONS: &str = "C(column), ns(column, df=4), log(column), offset(column)";

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Number(String),
    Sign(char),
    End,
}

/// A formula's text, read.
pub(super) fn parse(text: &str) -> Result<Tree, FormulaError> {
    if text.len() > MAX_LENGTH {
        return Err(FormulaError::new("", 0, format!("it has {} bytes, expected {MAX_LENGTH} or less", text.len())));
    }
    let tokens = tokens(text)?;
    let mut reader = Reader { text, tokens, at: 0, depth: 0, products: 0, offsets: Vec::new() };
    let response = reader.response()?;
    let place = reader.place();
    let node = reader.sum()?;
    match reader.token() {
        Token::End => {}
        Token::Sign('~') => return Err(reader.wrong("a second ~, expected one")),
        _ => return Err(reader.wrong(&format!("{}, expected +, -, *, : or ^", reader.shown()))),
    }
    if !node.has_dot() && node.factors().next().is_none() {
        return Err(FormulaError::new(text, place, "nothing to learn from, expected a column"));
    }
    Ok(Tree { response, node, offsets: reader.offsets })
}

/// Tokens with the places where they begin, counted in letters.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FormulaError> {
    let letters: Vec<char> = text.chars().collect();
    let (mut at, mut found) = (0, Vec::new());
    while let Some(&letter) = letters.get(at) {
        let start = at;
        at += 1;
        let run = |mut end: usize, goes_on: fn(char) -> bool| {
            while letters.get(end).is_some_and(|letter| goes_on(*letter)) {
                end += 1;
            }
            end
        };
        match letter {
            _ if letter.is_whitespace() => {}
            '`' => {
                let end = run(at, |letter| letter != '`');
                if end == letters.len() || end == at {
                    return Err(FormulaError::new(text, start, "a ` without a name and another ` after it"));
                }
                found.push((start, Token::Name(letters[at..end].iter().collect())));
                at = end + 1;
            }
            _ if letter.is_alphabetic() || letter == '_' => {
                at = run(at, |letter| letter.is_alphanumeric() || letter == '_' || letter == '.');
                found.push((start, Token::Name(letters[start..at].iter().collect())));
            }
            _ if letter.is_ascii_digit() => {
                at = run(at, |letter| letter.is_ascii_digit() || letter == '.');
                found.push((start, Token::Number(letters[start..at].iter().collect())));
            }
            '*' if letters.get(at) == Some(&'*') => {
                at += 1;
                found.push((start, Token::Sign('^')));
            }
            '~' | '+' | '-' | '*' | ':' | '^' | '(' | ')' | '.' | ',' | '=' => found.push((start, Token::Sign(letter))),
            other => {
                let problem = format!("{other:?}, which a formula has no meaning for; names with it stand in `...`");
                return Err(FormulaError::new(text, start, problem));
            }
        }
    }
    found.push((letters.len(), Token::End));
    Ok(found)
}

struct Reader<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
    products: usize,
    offsets: Vec<Offset>,
}

impl Reader<'_> {
    fn token(&self) -> &Token {
        // The end is never passed.
        self.tokens.get(self.at).map_or(&Token::End, |(_, token)| token)
    }

    fn place(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |(place, _)| *place)
    }

    fn next(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn takes(&mut self, sign: char) -> bool {
        let is = *self.token() == Token::Sign(sign);
        if is {
            self.next();
        }
        is
    }

    fn expect(&mut self, sign: char) -> Result<(), FormulaError> {
        if self.takes(sign) { Ok(()) } else { Err(self.wrong(&format!("{}, expected {sign}", self.shown()))) }
    }

    fn shown(&self) -> String {
        match self.token() {
            Token::Name(name) => format!("{name:?}"),
            Token::Number(number) => number.clone(),
            Token::Sign(sign) => sign.to_string(),
            Token::End => "the end".to_owned(),
        }
    }

    fn wrong(&self, problem: &str) -> FormulaError {
        FormulaError::new(self.text, self.place(), problem)
    }

    fn name(&mut self) -> Result<String, FormulaError> {
        let Token::Name(name) = self.token().clone() else {
            return Err(self.wrong(&format!("{}, expected the name of a column", self.shown())));
        };
        self.next();
        Ok(name)
    }

    /// What is before `~`.
    fn response(&mut self) -> Result<Response, FormulaError> {
        if *self.token() == Token::Sign('~') {
            return Err(self.wrong("nothing before ~, expected the column to predict"));
        }
        let place = self.place();
        let name = self.name()?;
        let response = if self.takes('(') {
            if name != "log" {
                let problem = format!("{name}() of what is to be predicted, expected a column or log(column)");
                return Err(FormulaError::new(self.text, place, problem));
            }
            let column = self.name()?;
            self.expect(')')?;
            Response { column, log: true }
        } else {
            Response { column: name, log: false }
        };
        self.expect('~')?;
        Ok(response)
    }

    /// `a + b - c`; a formula's right side, or what is in brackets.
    fn sum(&mut self) -> Result<Node, FormulaError> {
        let mut parts = Vec::new();
        let mut adds = !self.takes('-');
        loop {
            if self.depth == 0 {
                self.products = 0;
            }
            parts.push((adds, self.crossed(adds)?));
            if self.takes('+') {
                adds = !self.takes('-');
            } else if self.takes('-') {
                adds = false;
            } else {
                return Ok(Node::Sum(parts));
            }
        }
    }

    /// `a * b`.
    fn crossed(&mut self, adds: bool) -> Result<Node, FormulaError> {
        let place = self.place();
        let mut node = self.interacted()?;
        while self.takes('*') {
            self.count_product()?;
            self.refuse_inside(&node, place)?;
            let place = self.place();
            let other = self.interacted()?;
            self.refuse_inside(&other, place)?;
            node = Node::Cross(Box::new(node), Box::new(other));
        }
        if self.depth > 0 && !adds && node == Node::Intercept {
            return Err(FormulaError::new(self.text, place, "- 1 inside of brackets, expected it outside"));
        }
        if self.depth > 0 || (!adds && node == Node::Offset) {
            self.refuse_inside(&node, place)?;
        }
        Ok(node)
    }

    /// `a : b`.
    fn interacted(&mut self) -> Result<Node, FormulaError> {
        let place = self.place();
        let mut node = self.powered()?;
        while self.takes(':') {
            self.count_product()?;
            self.refuse_inside(&node, place)?;
            let place = self.place();
            let other = self.powered()?;
            self.refuse_inside(&other, place)?;
            node = Node::Interact(Box::new(node), Box::new(other));
        }
        Ok(node)
    }

    /// `a ^ 2`.
    fn powered(&mut self) -> Result<Node, FormulaError> {
        let place = self.place();
        let mut node = self.one()?;
        while self.takes('^') {
            self.count_product()?;
            self.refuse_inside(&node, place)?;
            let power = match self.token() {
                Token::Number(number) => number.parse::<u32>().ok().filter(|power| (1..=100).contains(power)),
                _ => None,
            };
            let Some(power) = power else {
                return Err(self.wrong(&format!("{} after ^, expected a whole number, 1 to 100", self.shown())));
            };
            self.next();
            node = Node::Power(Box::new(node), power);
        }
        Ok(node)
    }

    fn count_product(&mut self) -> Result<(), FormulaError> {
        self.products += 1;
        if self.products > MAX_PRODUCTS {
            return Err(self.wrong(&format!("more than {MAX_PRODUCTS} of *, : and ^ in one term")));
        }
        Ok(())
    }

    /// Refuses what has a meaning for the whole formula only.
    fn refuse_inside(&self, node: &Node, place: usize) -> Result<(), FormulaError> {
        let what = match node {
            Node::Offset => "an offset",
            Node::Nothing => "0",
            _ => return Ok(()),
        };
        let problem = format!("{what} inside of something, expected it after a + only");
        Err(FormulaError::new(self.text, place, problem))
    }

    fn one(&mut self) -> Result<Node, FormulaError> {
        let place = self.place();
        match self.token().clone() {
            Token::Number(number) => {
                let node = match number.as_str() {
                    "0" => Node::Nothing,
                    "1" => Node::Intercept,
                    _ => return Err(self.wrong(&format!("{number}, expected a column, 0 or 1"))),
                };
                self.next();
                Ok(node)
            }
            Token::Sign('.') => {
                self.next();
                Ok(Node::Dot)
            }
            Token::Sign('(') => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(self.wrong(&format!("more than {MAX_DEPTH} brackets in each other")));
                }
                self.next();
                let node = self.sum()?;
                self.expect(')')?;
                self.depth -= 1;
                Ok(node)
            }
            Token::Name(name) => {
                self.next();
                if self.takes('(') { self.call(&name, place) } else { Ok(Node::Factor(Factor::Column(name))) }
            }
            Token::Sign(_) | Token::End => Err(self.wrong(&format!("{}, expected a column", self.shown()))),
        }
    }

    /// What a function makes of a column; the bracket after its name is taken.
    fn call(&mut self, function: &str, place: usize) -> Result<Node, FormulaError> {
        let node = match function {
            "C" => Node::Factor(Factor::Categories(self.name()?)),
            "log" => Node::Factor(Factor::Log(self.name()?)),
            "ns" => {
                let column = self.name()?;
                self.expect(',')?;
                if *self.token() == Token::Name("df".to_owned()) {
                    self.next();
                    self.expect('=')?;
                }
                let df = match self.token() {
                    Token::Number(number) => number.parse::<usize>().ok().filter(|df| (1..=1_000).contains(df)),
                    _ => None,
                };
                let Some(df) = df else {
                    return Err(self.wrong(&format!("{}, expected df, a whole number, 1 to 1,000", self.shown())));
                };
                self.next();
                Node::Factor(Factor::Spline { column, df })
            }
            "offset" => {
                let name = self.name()?;
                let log = name == "log" && self.takes('(');
                let column = if log { self.name()? } else { name };
                if log {
                    self.expect(')')?;
                }
                if self.offsets.iter().any(|offset| offset.log == log) {
                    let problem = "a second offset of its kind, expected one column and one log(column) at most";
                    return Err(FormulaError::new(self.text, place, problem));
                }
                self.offsets.push(Offset { column, log });
                Node::Offset
            }
            other => {
                let problem = format!("{other}(), which is no function of formulas; they have {FUNCTIONS}");
                return Err(FormulaError::new(self.text, place, problem));
            }
        };
        self.expect(')')?;
        Ok(node)
    }
}
