//! `com.cliquepay.expense`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::{Invalid, MAX_LINE, MAX_PEOPLE, MAX_TEXT, Obj, Read, total};
use crate::ids::Person;
use crate::money::{Amount, Currency};
use crate::split::{self, Input, Item, Method};

/// Most items on an itemised bill.
const MAX_ITEMS: usize = 200;
/// Most receipts on an expense.
const MAX_RECEIPTS: usize = 10;

/// A person and an amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Who.
    pub who: Person,
    /// How much, in minor units of the entry's currency.
    pub amount: Amount,
}

/// A rate of exchange: information, it moves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fx {
    /// Units of `to` for one unit of the entry's currency, as a decimal string.
    pub rate: String,
    /// Where the rate is from.
    pub source: String,
    /// The day it is of.
    pub date: String,
    /// The other currency and the amount in it.
    pub to: (Currency, Amount),
}

/// Money spent for others; a refund or income where the amount is negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expense {
    /// Names the entry together with its author.
    pub uid: Arc<str>,
    /// What it was for.
    pub title: String,
    /// The day, `YYYY-MM-DD`.
    pub date: String,
    /// A free word such as `food`.
    pub category: Option<String>,
    /// The currency of all its amounts.
    pub currency: Currency,
    /// The total.
    pub amount: Amount,
    /// Who paid; adds up to `amount`.
    pub paid: Vec<Line>,
    /// Who owes; adds up to `amount`. This is what counts, whatever `method` gives.
    pub owed: Vec<Line>,
    /// How the author divided it.
    pub method: Method,
    /// The inputs to the method. Empty for an equal split among the people of `owed`.
    pub inputs: Vec<Input>,
    /// The items of an itemised bill.
    pub items: Vec<Item>,
    /// More words.
    pub notes: Option<String>,
    /// Receipts as they stand in the entry: `mxc://` URIs or `EncryptedFile` objects.
    pub receipts: Vec<Value>,
    /// The uid of the expense that this refunds; it seeds the rounding.
    pub refund_of: Option<Arc<str>>,
    /// A rate of exchange.
    pub fx: Option<Fx>,
}

impl Expense {
    pub(super) fn read(obj: &Obj<'_>) -> Read<Self> {
        let uid = obj.uid("uid")?;
        let title = obj.line("title", MAX_LINE)?;
        let date = obj.date("date")?;
        let category = obj.opt_line("category", 64)?;
        let (currency, amount) = obj.money()?;
        let paid = lines(obj, "paid", &currency, amount)?;
        let owed = lines(obj, "owed", &currency, amount)?;
        let people: BTreeSet<&str> = paid.iter().chain(&owed).map(|l| &*l.who).collect();
        if people.len() > MAX_PEOPLE {
            return obj.fail("owed", format!("more than {MAX_PEOPLE} people"));
        }
        let (method, inputs) = read_split(obj, &currency)?;
        let items = read_items(obj, &currency)?;
        Ok(Self {
            uid,
            title,
            date,
            category,
            amount,
            paid,
            owed,
            method,
            inputs,
            items,
            notes: obj.opt_text("notes", MAX_TEXT)?,
            receipts: read_receipts(obj)?,
            refund_of: obj.get("refund_of").map(|_| obj.uid("refund_of")).transpose()?,
            fx: obj.get("fx").map(|v| read_fx(v, &obj.at("fx"))).transpose()?,
            currency,
        })
    }

    /// The seed of its rounding: `refund_of` where present, else the uid.
    pub fn seed(&self) -> &str {
        self.refund_of.as_deref().unwrap_or(&self.uid)
    }

    /// What to warn of: signed shares that are more than one minor unit from what the method gives. They count all the same.
    pub fn warnings(&self) -> Vec<String> {
        let from_owed: Vec<Input>;
        let inputs = if self.inputs.is_empty() && self.method == Method::Equal {
            from_owed = self.owed.iter().map(|l| Input { who: l.who.clone(), value: 0 }).collect();
            &from_owed
        } else {
            &self.inputs
        };
        let given = match split::shares(self.method, self.amount, inputs, &self.items, self.seed()) {
            Ok(given) => given,
            Err(e) => return vec![format!("the split cannot be followed: {e}")],
        };
        let people: BTreeSet<&Person> = given.iter().map(|g| &g.0).chain(self.owed.iter().map(|l| &l.who)).collect();
        let share = |of: &Person| given.iter().filter(|g| g.0 == *of).map(|g| g.1).sum::<Amount>();
        let signed = |of: &Person| self.owed.iter().filter(|l| l.who == *of).map(|l| l.amount).sum::<Amount>();
        people
            .into_iter()
            .filter(|who| (share(who) - signed(who)).abs() > Amount(1))
            .map(|who| {
                let (should, is) = (self.currency.format(share(who)), self.currency.format(signed(who)));
                format!("{who} owes {is} where a split \"{}\" gives {should}", self.method.name())
            })
            .collect()
    }
}

/// `paid` or `owed`: people once each, amounts of the total's sign that add up to the total.
fn lines(obj: &Obj<'_>, name: &str, currency: &Currency, amount: Amount) -> Read<Vec<Line>> {
    let array = obj.array(name, MAX_PEOPLE)?;
    if array.is_empty() {
        return obj.fail(name, "must not be empty");
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut lines = Vec::with_capacity(array.len());
    for (i, value) in array.iter().enumerate() {
        let line = Obj::new(value, obj.at(&format!("{name}[{i}]")))?;
        let who = line.person("who")?;
        if !seen.insert(line.str("who")?) {
            return line.fail("who", "the same person twice");
        }
        let part = line.amount("amount", currency)?;
        if !part.is_zero() && part.signum() != amount.signum() {
            return line.fail("amount", "must be zero or have the sign of the total");
        }
        lines.push(Line { who, amount: part });
    }
    if total(&lines) != amount {
        return obj
            .fail(name, format!("adds up to {}, not {}", currency.format(total(&lines)), currency.format(amount)));
    }
    Ok(lines)
}

/// `split`: the method and its inputs.
pub(crate) fn read_split(obj: &Obj<'_>, currency: &Currency) -> Read<(Method, Vec<Input>)> {
    let split = Obj::new(obj.need("split")?, obj.at("split"))?;
    let Some(method) = Method::from_name(split.str("method")?) else {
        return split.fail("method", "is not equal, exact, percent, shares, adjustment or itemised");
    };
    let array = split.opt_array("inputs", MAX_PEOPLE)?;
    let optional = matches!(method, Method::Equal | Method::Itemised);
    if array.is_empty() && !optional {
        return split.fail("inputs", "must not be empty");
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut inputs = Vec::with_capacity(array.len());
    for (i, value) in array.iter().enumerate() {
        let input = Obj::new(value, split.at(&format!("inputs[{i}]")))?;
        let who = input.person("who")?;
        if !seen.insert(input.str("who")?) {
            return input.fail("who", "the same person twice");
        }
        let value = match method {
            Method::Equal | Method::Itemised => 0,
            Method::Exact | Method::Adjustment => input.amount("value", currency)?.0,
            Method::Percent | Method::Shares => split::parse_input(input.str("value")?).ok_or_else(|| {
                Invalid::new(input.at("value"), "must be a number with at most 4 decimals, not negative")
            })?,
        };
        inputs.push(Input { who, value });
    }
    Ok((method, inputs))
}

/// `items`: what is on the bill and who had it.
pub(crate) fn read_items(obj: &Obj<'_>, currency: &Currency) -> Read<Vec<Item>> {
    let mut items = Vec::new();
    for (i, value) in obj.opt_array("items", MAX_ITEMS)?.iter().enumerate() {
        let item = Obj::new(value, obj.at(&format!("items[{i}]")))?;
        items.push(Item {
            title: item.line("title", MAX_LINE)?,
            amount: item.amount("amount", currency)?,
            who: item.people("who", MAX_PEOPLE)?,
        });
    }
    Ok(items)
}

fn read_receipts(obj: &Obj<'_>) -> Read<Vec<Value>> {
    let array = obj.opt_array("receipts", MAX_RECEIPTS)?;
    for (i, value) in array.iter().enumerate() {
        let url = match value {
            Value::String(url) => Some(url.as_str()),
            Value::Object(file) => file.get("url").and_then(Value::as_str),
            _ => None,
        };
        if !url.is_some_and(|u| u.starts_with("mxc://") && u.len() <= 512) {
            return obj.fail(&format!("receipts[{i}]"), "must be an mxc:// URI or an encrypted file");
        }
    }
    Ok(array.to_vec())
}

fn read_fx(value: &Value, path: &str) -> Read<Fx> {
    let fx = Obj::new(value, path)?;
    let rate = fx.str("rate")?;
    if !crate::money::parse_decimal(rate).is_ok_and(|(n, _)| n > 0) {
        return fx.fail("rate", "must be a positive decimal string with at most 8 decimals");
    }
    Ok(Fx {
        rate: rate.to_owned(),
        source: fx.line("source", MAX_LINE)?,
        date: fx.date("date")?,
        to: Obj::new(fx.need("to")?, fx.at("to"))?.money()?,
    })
}
