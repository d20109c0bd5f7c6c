//! How an amount is divided: six methods, all rounded by largest remainder on the absolute total.
//!
//! What is signed is what is owed, so this is arithmetic for authors. Readers use it only to warn where a signed share
//! is more than one minor unit from what its method gives.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::ids::Person;
use crate::money::{Amount, parse_decimal};

/// Scale of the numbers in `percent` and `shares` inputs: four decimals.
pub const INPUT_SCALE: i128 = 10_000;
const INPUT_DECIMALS: usize = 4;
/// Largest share count (before its decimals).
const MAX_SHARES: i128 = 1_000_000_000;

/// How an expense is divided among people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// The same for everyone.
    Equal,
    /// Each share is given.
    Exact,
    /// Percentages that add up to 100.
    Percent,
    /// In proportion to a number of shares.
    Shares,
    /// Personal extras first, the rest equally.
    Adjustment,
    /// Items to the people who had them, then tax and tip in proportion.
    Itemised,
}

impl Method {
    /// The method called `name` in an entry.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "equal" => Self::Equal,
            "exact" => Self::Exact,
            "percent" => Self::Percent,
            "shares" => Self::Shares,
            "adjustment" => Self::Adjustment,
            "itemised" => Self::Itemised,
            _ => return None,
        })
    }

    /// Its name in an entry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Exact => "exact",
            Self::Percent => "percent",
            Self::Shares => "shares",
            Self::Adjustment => "adjustment",
            Self::Itemised => "itemised",
        }
    }
}

/// One line of `split.inputs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Whose share.
    pub who: Person,
    /// Minor units for `exact` and `adjustment`, ten-thousandths for `percent` and `shares`, 0 for `equal` and `itemised`.
    pub value: i128,
}

/// One item of an itemised bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub title: String,
    /// What it costs, before tax and tip.
    pub amount: Amount,
    /// Who had it; they share it equally.
    pub who: Vec<Person>,
}

/// Why a split has no result. `field` is the JSON path below the expense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct SplitError {
    /// Such as `split.inputs[2].value`.
    pub field: String,
    /// Why, in a few words.
    pub reason: String,
}

fn error(field: impl Into<String>, reason: impl Into<String>) -> SplitError {
    SplitError { field: field.into(), reason: reason.into() }
}

/// Reads a `percent` or `shares` value: up to four decimals, not negative, in ten-thousandths.
pub fn parse_input(text: &str) -> Option<i128> {
    let (digits, decimals) = parse_decimal(text).ok()?;
    let missing = u32::try_from(INPUT_DECIMALS.checked_sub(decimals)?).ok()?;
    let value = digits.checked_mul(10_i128.checked_pow(missing)?)?;
    (0..=MAX_SHARES * INPUT_SCALE).contains(&value).then_some(value)
}

/// The shares that `method` gives of `amount`, in the order of `inputs` (for itemised bills: of the first mention).
/// They add up to `amount` exactly. `seed` is the entry's uid, or for a refund the uid of what it refunds.
pub fn shares(
    method: Method,
    amount: Amount,
    inputs: &[Input],
    items: &[Item],
    seed: &str,
) -> Result<Vec<(Person, Amount)>, SplitError> {
    if method == Method::Itemised {
        return itemised(amount, items, seed);
    }
    if inputs.is_empty() {
        return Err(error("split.inputs", "nobody to split among"));
    }
    let people: Vec<Person> = inputs.iter().map(|i| i.who.clone()).collect();
    let values: Vec<i128> = inputs.iter().map(|i| i.value).collect();
    let owed = match method {
        Method::Equal => divide(amount, &people, &vec![1; people.len()], seed)?,
        Method::Exact => {
            let sum: Amount = values.iter().map(|v| Amount(*v)).sum();
            if sum != amount {
                return Err(error("split.inputs", "the shares do not add up to the amount"));
            }
            values.iter().map(|v| Amount(*v)).collect()
        }
        Method::Percent => {
            if values.iter().sum::<i128>() != 100 * INPUT_SCALE {
                return Err(error("split.inputs", "the percentages do not add up to 100"));
            }
            divide(amount, &people, &values, seed)?
        }
        Method::Shares => divide(amount, &people, &values, seed)?,
        Method::Adjustment => adjustment(amount, &people, &values, seed)?,
        Method::Itemised => return itemised(amount, items, seed),
    };
    if let Some(i) = owed.iter().position(|o| o.signum() * amount.signum() < 0) {
        return Err(error(format!("split.inputs[{i}].value"), "the share has the other sign than the amount"));
    }
    Ok(people.into_iter().zip(owed).collect())
}

/// The extras as they are, and an equal part of what is left for everyone.
fn adjustment(amount: Amount, people: &[Person], extras: &[i128], seed: &str) -> Result<Vec<Amount>, SplitError> {
    let extra: Amount = extras.iter().map(|v| Amount(*v)).sum();
    let rest = divide(amount - extra, people, &vec![1; people.len()], seed)?;
    Ok(rest.into_iter().zip(extras).map(|(r, e)| r + Amount(*e)).collect())
}

/// Items in equal parts to those who had them, then what the amount has above the items (tax, tip, a discount) in
/// proportion to each one's items. Items of the same people are added up first, so that odd cents do not pile up.
fn itemised(amount: Amount, items: &[Item], seed: &str) -> Result<Vec<(Person, Amount)>, SplitError> {
    if items.is_empty() {
        return Err(error("items", "an itemised split needs items"));
    }
    let mut order: Vec<Person> = Vec::new();
    let mut position: BTreeMap<Person, usize> = BTreeMap::new();
    let mut tables: BTreeMap<BTreeSet<Person>, Amount> = BTreeMap::new();
    for (i, item) in items.iter().enumerate() {
        if item.who.is_empty() {
            return Err(error(format!("items[{i}].who"), "nobody had it"));
        }
        if item.amount.signum() * amount.signum() < 0 {
            return Err(error(format!("items[{i}].amount"), "the item has the other sign than the amount"));
        }
        for who in &item.who {
            position.entry(who.clone()).or_insert_with(|| {
                order.push(who.clone());
                order.len() - 1
            });
        }
        *tables.entry(item.who.iter().cloned().collect()).or_default() += item.amount;
    }
    let mut subtotals = vec![0_i128; order.len()];
    for (people, sum) in tables {
        let people: Vec<Person> = people.into_iter().collect();
        let parts = divide(sum, &people, &vec![1; people.len()], seed)?;
        for (who, part) in people.iter().zip(parts) {
            if let Some(slot) = position.get(who).and_then(|at| subtotals.get_mut(*at)) {
                *slot += part.0;
            }
        }
    }
    let rest = amount - subtotals.iter().map(|s| Amount(*s)).sum();
    let weights: Vec<i128> = subtotals.iter().map(|s| s.abs()).collect();
    if rest.is_zero() {
        return Ok(order.into_iter().zip(subtotals.into_iter().map(Amount)).collect());
    }
    let rest = divide(rest, &order, &weights, seed)?;
    Ok(order.into_iter().zip(subtotals.into_iter().zip(rest).map(|(s, r)| Amount(s) + r)).collect())
}

/// The largest-remainder method on the absolute total: everyone gets the floor of their part, and the units left go to
/// the largest remainders, ties to the smaller SHA-256(seed ‖ 0x00 ‖ person).
///
/// `weights` are not negative and as many as `people`; they must not all be zero unless `total` is.
pub fn divide(total: Amount, people: &[Person], weights: &[i128], seed: &str) -> Result<Vec<Amount>, SplitError> {
    let whole: i128 = weights.iter().sum();
    if total.is_zero() {
        return Ok(vec![Amount::ZERO; people.len()]);
    }
    if whole <= 0 || weights.len() != people.len() {
        return Err(error("split.inputs", "there are no shares to divide by"));
    }
    let magnitude = total.0.unsigned_abs();
    let whole = whole.unsigned_abs();
    let mut parts: Vec<u128> = Vec::with_capacity(people.len());
    let mut remainders: Vec<(u128, [u8; 32], usize)> = Vec::new();
    let mut left = magnitude;
    for (i, (who, weight)) in people.iter().zip(weights).enumerate() {
        let (quotient, remainder) = mul_div(magnitude, weight.unsigned_abs(), whole);
        left = left.saturating_sub(quotient);
        parts.push(quotient);
        if remainder > 0 {
            remainders.push((remainder, tie(seed, who), i));
        }
    }
    remainders.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)).then_with(|| a.2.cmp(&b.2)));
    // The remainders add up to `left` wholes, each is below one, so there are more of them than units left.
    for (_, _, i) in remainders.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        if let Some(part) = parts.get_mut(i) {
            *part += 1;
        }
    }
    let sign = total.signum();
    Ok(parts.into_iter().map(|p| Amount(i128::try_from(p).unwrap_or(i128::MAX) * sign)).collect())
}

/// SHA-256(seed ‖ 0x00 ‖ person): a lot that the author cannot choose freely and that a refund draws again.
pub fn tie(seed: &str, person: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.as_bytes());
    hash.update([0]);
    hash.update(person.as_bytes());
    hash.finalize().into()
}

/// Quotient and remainder of `a * b / c` without overflow in between, for `c` below 2^127 and quotients that fit.
fn mul_div(a: u128, b: u128, c: u128) -> (u128, u128) {
    if c == 0 {
        return (0, 0);
    }
    if let Some(product) = a.checked_mul(b) {
        return (product / c, product % c);
    }
    // Long multiplication by the bits of a, reduced at every step, so that the remainder stays below c.
    let (b_quotient, b_remainder) = (b / c, b % c);
    let (mut quotient, mut remainder) = (0_u128, 0_u128);
    for bit in (0..128 - a.leading_zeros()).rev() {
        quotient = quotient.saturating_mul(2);
        remainder *= 2;
        if remainder >= c {
            remainder -= c;
            quotient += 1;
        }
        if a >> bit & 1 == 1 {
            quotient = quotient.saturating_add(b_quotient);
            remainder += b_remainder;
            if remainder >= c {
                remainder -= c;
                quotient += 1;
            }
        }
    }
    (quotient, remainder)
}

#[cfg(test)]
mod tests;
