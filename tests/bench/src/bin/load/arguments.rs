//! `name=value` arguments: the driver writes them, so a wrong one is a fault of ours.

use std::collections::HashMap;
use std::str::FromStr;

pub struct Arguments(HashMap<String, String>);

impl Arguments {
    pub fn read() -> Self {
        let pairs = std::env::args().skip(1).map(|argument| {
            let (name, value) = argument.split_once('=').expect("arguments are name=value");
            (name.to_owned(), value.to_owned())
        });
        Self(pairs.collect())
    }

    pub fn text(&self, name: &str) -> &str {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("{name}= is missing"))
    }

    pub fn text_or_none(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn number<T: FromStr>(&self, name: &str) -> T {
        self.text(name)
            .parse()
            .unwrap_or_else(|_| panic!("{name}= is not a number"))
    }

    /// Numbers between commas; none when the argument is missing.
    pub fn numbers<T: FromStr>(&self, name: &str) -> Vec<T> {
        let text = self.text_or_none(name).unwrap_or_default();
        let parts = text.split(',').filter(|part| !part.is_empty());
        let numbers = parts.map(|part| part.parse().ok());
        let numbers: Option<_> = numbers.collect();
        numbers.unwrap_or_else(|| panic!("{name}= has no numbers"))
    }

    pub fn number_or<T: FromStr>(&self, name: &str, default: T) -> T {
        if self.0.contains_key(name) {
            self.number(name)
        } else {
            default
        }
    }
}
