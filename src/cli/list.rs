//! `runner list`: the stock scripts.

use super::answer;
use crate::engine::{Script, stock_names};
use crate::error::Result;

pub(super) fn list() -> Result<u8> {
    let width = stock_names().map(str::len).max().unwrap_or(0);
    let mut text = String::new();
    for name in stock_names() {
        let purpose = Script::compile_stock(name).map(|s| s.head().lines().next().unwrap_or_default().to_owned());
        text.push_str(&format!("{name:width$}  {}\n", purpose.unwrap_or_default()));
    }
    text.push_str("\n`runner help NAME` shows the parameters, `runner fork NAME` copies one to edit.\n");
    answer(&text)
}
