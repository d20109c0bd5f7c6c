//! Currencies and amounts. An amount is a whole number of minor units in an `i128`; text and number convert exactly.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::sync::Arc;

/// Largest absolute amount, in major units: 10^12.
pub const MAX_UNITS: i128 = 1_000_000_000_000;
/// Most decimals that a custom unit may have.
pub const MAX_DECIMALS: u8 = 8;

/// ISO 4217 codes with no minor unit.
const DECIMALS_0: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
/// ISO 4217 codes with two decimals.
const DECIMALS_2: &str = "\
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU \
CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES \
KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR \
NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP \
TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG";
/// ISO 4217 codes with three decimals.
const DECIMALS_3: &str = "BHD IQD JOD KWD LYD OMR TND";
/// ISO 4217 codes with four decimals.
const DECIMALS_4: &str = "CLF UYW";

/// Why a text is not an amount or a currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Neither a code of the frozen table nor a well-formed `x-…` unit.
    #[error("unknown currency")]
    Currency,
    /// Not `-?(0|[1-9][0-9]*)(\.[0-9]+)?`.
    #[error("not a decimal amount such as \"84.00\"")]
    Syntax,
    /// Minus zero.
    #[error("minus zero is not an amount")]
    MinusZero,
    /// The number of decimals is not the currency's.
    #[error("{code} has {decimals} decimals")]
    Scale {
        /// The currency's code.
        code: String,
        /// Its number of decimals.
        decimals: u8,
    },
    /// More than 10^12 units.
    #[error("the amount is larger than 1000000000000 units")]
    TooLarge,
}

#[derive(Clone)]
enum Code {
    Iso(&'static str),
    Custom(Arc<str>),
}

/// A currency of the table frozen for protocol version 1, or a custom unit `x-…`; with its number of decimals.
///
/// Equality and order look at the code bytewise, then at the decimals.
#[derive(Clone)]
pub struct Currency {
    code: Code,
    decimals: u8,
}

impl Currency {
    /// An ISO 4217 code of the frozen table, upper case. `None` for anything else, custom units included.
    pub fn iso(code: &str) -> Option<Self> {
        if code.len() != 3 {
            return None;
        }
        for (table, decimals) in [(DECIMALS_2, 2), (DECIMALS_0, 0), (DECIMALS_3, 3), (DECIMALS_4, 4)] {
            if let Some(found) = table.split(' ').find(|c| *c == code) {
                return Some(Self { code: Code::Iso(found), decimals });
            }
        }
        None
    }

    /// A custom unit: `x-` and 1 to 16 of `a-z`, `0-9` and `-`; 0 to 8 decimals.
    pub fn custom(code: &str, decimals: u8) -> Option<Self> {
        if !is_custom_code(code) || decimals > MAX_DECIMALS {
            return None;
        }
        Some(Self { code: Code::Custom(code.into()), decimals })
    }

    /// The currency in which `amount` is written as `code`. A custom unit takes its decimals from the text; whether they
    /// are the ones that the ledger declares is the fold's to say.
    pub fn of(code: &str, amount: &str) -> Result<Self, MoneyError> {
        if let Some(currency) = Self::iso(code) {
            return Ok(currency);
        }
        let decimals = amount.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let decimals = u8::try_from(decimals).ok().filter(|d| *d <= MAX_DECIMALS);
        match decimals {
            Some(decimals) => Self::custom(code, decimals).ok_or(MoneyError::Currency),
            None if is_custom_code(code) => Err(MoneyError::Scale { code: code.to_owned(), decimals: MAX_DECIMALS }),
            None => Err(MoneyError::Currency),
        }
    }

    /// Every ISO 4217 currency of the frozen table, in no particular order.
    pub fn table() -> impl Iterator<Item = Currency> {
        [(DECIMALS_0, 0), (DECIMALS_2, 2), (DECIMALS_3, 3), (DECIMALS_4, 4)].into_iter().flat_map(
            |(table, decimals)| table.split(' ').map(move |code| Currency { code: Code::Iso(code), decimals }),
        )
    }

    /// The code, such as `EUR` or `x-beer`.
    pub fn code(&self) -> &str {
        match &self.code {
            Code::Iso(code) => code,
            Code::Custom(code) => code,
        }
    }

    /// Number of decimals, 0 to 8.
    pub fn decimals(&self) -> u8 {
        self.decimals
    }

    /// Whether this is an `x-…` unit.
    pub fn is_custom(&self) -> bool {
        matches!(self.code, Code::Custom(_))
    }

    /// Minor units in one unit.
    fn factor(&self) -> i128 {
        10_i128.pow(u32::from(self.decimals))
    }

    /// Reads a decimal string in exactly this currency's scale, at most 10^12 units either way.
    pub fn parse(&self, text: &str) -> Result<Amount, MoneyError> {
        let (minor, decimals) = parse_decimal(text)?;
        if decimals != usize::from(self.decimals) {
            return Err(MoneyError::Scale { code: self.code().to_owned(), decimals: self.decimals });
        }
        if minor.abs() > MAX_UNITS.saturating_mul(self.factor()) {
            return Err(MoneyError::TooLarge);
        }
        Ok(Amount(minor))
    }

    /// Writes an amount as the decimal string in this currency's scale. The inverse of [`Currency::parse`].
    pub fn format(&self, amount: Amount) -> String {
        let sign = if amount.0 < 0 { "-" } else { "" };
        let magnitude = amount.0.unsigned_abs();
        let factor = self.factor().unsigned_abs();
        if self.decimals == 0 {
            return format!("{sign}{magnitude}");
        }
        format!("{sign}{}.{:0width$}", magnitude / factor, magnitude % factor, width = usize::from(self.decimals))
    }
}

impl PartialEq for Currency {
    fn eq(&self, other: &Self) -> bool {
        self.code() == other.code() && self.decimals == other.decimals
    }
}
impl Eq for Currency {}
impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Currency {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code().cmp(other.code()).then(self.decimals.cmp(&other.decimals))
    }
}
impl std::hash::Hash for Currency {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.code().hash(state);
        self.decimals.hash(state);
    }
}
impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.code(), self.decimals)
    }
}
impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
impl serde::Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

fn is_custom_code(code: &str) -> bool {
    code.strip_prefix("x-").is_some_and(|rest| {
        (1..=16).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

/// Reads `-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,8})?` that is not minus zero: the digits as one number, and how many of them
/// are decimals.
pub(crate) fn parse_decimal(text: &str) -> Result<(i128, usize), MoneyError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return Err(MoneyError::Syntax),
        Some((whole, fraction)) => (whole, fraction),
        None => (digits, ""),
    };
    let numeric = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !numeric(whole) || !numeric(fraction) || (whole.len() > 1 && whole.starts_with('0')) {
        return Err(MoneyError::Syntax);
    }
    if whole.len() > 13 {
        return Err(MoneyError::TooLarge);
    }
    if fraction.len() > usize::from(MAX_DECIMALS) {
        return Err(MoneyError::Syntax);
    }
    let mut value: i128 = 0;
    for b in whole.bytes().chain(fraction.bytes()) {
        // At most 21 digits: far below the limit of an i128.
        value = value * 10 + i128::from(b - b'0');
    }
    if negative && value == 0 {
        return Err(MoneyError::MinusZero);
    }
    Ok((if negative { -value } else { value }, fraction.len()))
}

/// A number of minor units. Sums saturate, which no ledger reaches: 10^18 entries of the largest amount still fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(pub i128);

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The amount without its sign.
    pub fn abs(self) -> Amount {
        Amount(self.0.saturating_abs())
    }

    /// -1, 0 or 1.
    pub fn signum(self) -> i128 {
        self.0.signum()
    }
}

impl Add for Amount {
    type Output = Amount;
    fn add(self, other: Amount) -> Amount {
        Amount(self.0.saturating_add(other.0))
    }
}
impl AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        *self = *self + other;
    }
}
impl Sub for Amount {
    type Output = Amount;
    fn sub(self, other: Amount) -> Amount {
        Amount(self.0.saturating_sub(other.0))
    }
}
impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Amount) {
        *self = *self - other;
    }
}
impl Neg for Amount {
    type Output = Amount;
    fn neg(self) -> Amount {
        Amount(self.0.saturating_neg())
    }
}
impl Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(iter: I) -> Amount {
        iter.fold(Amount::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn eur() -> Currency {
        Currency::iso("EUR").unwrap()
    }

    #[test]
    fn the_table_is_frozen() {
        let mut codes: Vec<String> = Currency::table().map(|c| format!("{}{}", c.code(), c.decimals())).collect();
        assert_eq!(codes.len(), 17 + 139 + 7 + 2, "{codes:?}");
        codes.sort();
        codes.dedup_by_key(|c| c.get(..3).map(str::to_owned));
        assert_eq!(codes.len(), 165);
        assert!(Currency::table().all(|c| c.code().len() == 3 && c.code().bytes().all(|b| b.is_ascii_uppercase())));
        for gone in ["XXX", "XAU", "HRK", "eur", "EU", "EURO", ""] {
            assert_eq!(Currency::iso(gone), None, "{gone}");
        }
    }

    #[test]
    fn scale_is_the_currencys_own() {
        assert_eq!(eur().parse("84.00"), Ok(Amount(8400)));
        assert_eq!(Currency::iso("JPY").unwrap().parse("900"), Ok(Amount(900)));
        assert_eq!(Currency::iso("KWD").unwrap().parse("1.250"), Ok(Amount(1250)));
        assert_eq!(Currency::iso("CLF").unwrap().parse("-0.0001"), Ok(Amount(-1)));
        assert!(matches!(eur().parse("84"), Err(MoneyError::Scale { decimals: 2, .. })));
        assert!(matches!(eur().parse("84.0"), Err(MoneyError::Scale { .. })));
        assert!(matches!(Currency::iso("JPY").unwrap().parse("9.00"), Err(MoneyError::Scale { .. })));
    }

    #[test]
    fn what_is_no_amount() {
        for bad in
            ["", "-", ".50", "1.", "01.00", "+1.00", "1,00", " 1.00", "1.00 ", "1e3", "１.00", "--1.00", "1.0.0", "0x1"]
        {
            assert_eq!(eur().parse(bad), Err(MoneyError::Syntax), "{bad}");
        }
        assert_eq!(eur().parse("-0.00"), Err(MoneyError::MinusZero));
        assert_eq!(Currency::iso("JPY").unwrap().parse("-0"), Err(MoneyError::MinusZero));
        assert_eq!(eur().parse("1000000000000.00"), Ok(Amount(100_000_000_000_000)));
        assert_eq!(eur().parse("1000000000000.01"), Err(MoneyError::TooLarge));
        assert_eq!(eur().parse(&"9".repeat(10_000)), Err(MoneyError::TooLarge));
    }

    #[test]
    fn custom_units() {
        let beer = Currency::of("x-beer", "3").unwrap();
        assert_eq!((beer.code(), beer.decimals()), ("x-beer", 0));
        assert_eq!(Currency::of("x-beer", "3.5").unwrap().decimals(), 1);
        assert_eq!(Currency::of("x-sat", "0.00000001").unwrap().parse("0.00000001"), Ok(Amount(1)));
        assert!(Currency::of("x-sat", "0.000000001").is_err());
        for bad in ["x-", "x-Beer", "beer", "x-äh", "x-12345678901234567"] {
            assert_eq!(Currency::of(bad, "1").err(), Some(MoneyError::Currency), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_and_number_are_inverse(minor in -100_000_000_000_000_i128..=100_000_000_000_000, which in 0_usize..165) {
            let currency = Currency::table().nth(which).unwrap();
            let amount = Amount(minor);
            prop_assume!(minor.abs() <= MAX_UNITS * currency.factor());
            prop_assert_eq!(currency.parse(&currency.format(amount)), Ok(amount));
        }

        #[test]
        fn accepted_text_is_printed_back(text in "-?[0-9]{0,3}\\.?[0-9]{0,3}") {
            if let Ok(amount) = eur().parse(&text) {
                prop_assert_eq!(eur().format(amount), text);
            }
        }
    }
}
