//! `com.cliquepay.settlement` and `com.cliquepay.verdict`.

use std::sync::Arc;

use super::{MAX_LINE, MAX_OVER, MAX_TEXT, Obj, Read};
use crate::ids::{EventId, Person};
use crate::money::{Amount, Currency};

/// A payment from one person to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// Names the entry together with its author.
    pub uid: Arc<str>,
    /// Who paid.
    pub from: Person,
    /// Who was paid.
    pub to: Person,
    /// The currency that was paid.
    pub currency: Currency,
    /// How much was paid, positive.
    pub amount: Amount,
    /// The day, `YYYY-MM-DD`.
    pub date: Option<String>,
    /// How it was paid, such as `sepa` or `cash`.
    pub rail: Option<String>,
    /// The payment's reference.
    pub reference: Option<String>,
    /// The debt that it clears, where that is in another currency or of another size: this moves the balance, not `amount`.
    pub clears: Option<(Currency, Amount)>,
    /// The other party's entry about the same payment.
    pub answers: Option<EventId>,
}

impl Settlement {
    pub(super) fn read(obj: &Obj<'_>) -> Read<Self> {
        let (currency, amount) = obj.money()?;
        if amount.signum() <= 0 {
            return obj.fail("amount", "must be positive");
        }
        let (from, to) = (obj.person("from")?, obj.person("to")?);
        if from == to {
            return obj.fail("to", "must be somebody else than from");
        }
        let clears = match obj.get("clears") {
            None => None,
            Some(value) => {
                let clears = Obj::new(value, obj.at("clears"))?;
                let money = clears.money()?;
                if money.1.signum() <= 0 {
                    return clears.fail("amount", "must be positive");
                }
                Some(money)
            }
        };
        Ok(Self {
            uid: obj.uid("uid")?,
            from,
            to,
            currency,
            amount,
            date: obj.get("date").map(|_| obj.date("date")).transpose()?,
            rail: obj.opt_line("rail", 32)?,
            reference: obj.opt_line("reference", MAX_LINE)?,
            clears,
            answers: obj.get("answers").map(|_| obj.event_id("answers")).transpose()?,
        })
    }

    /// What moves the balance: the cleared amount where there is one.
    pub fn moves(&self) -> (&Currency, Amount) {
        self.clears.as_ref().map_or((&self.currency, self.amount), |(currency, amount)| (currency, *amount))
    }

    /// Whether both are between the same people in the same currencies, which never change.
    pub fn same_parties(&self, other: &Settlement) -> bool {
        let cleared = |s: &Settlement| s.clears.as_ref().map(|c| c.0.clone());
        self.from == other.from
            && self.to == other.to
            && self.currency == other.currency
            && cleared(self) == cleared(other)
    }
}

/// What a verdict says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The money arrived (or: agreed).
    Confirmed,
    /// It did not.
    Disputed,
}

/// The payee's word on one exact version of a settlement; or the payer's consent to what would take one back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The version that it is about.
    pub target: EventId,
    /// What it says.
    pub verdict: Decision,
    /// Why.
    pub reason: Option<String>,
    /// The sender's earlier verdicts on the same version, which this replaces.
    pub over: Vec<EventId>,
}

impl Verdict {
    pub(super) fn read(obj: &Obj<'_>) -> Read<Self> {
        Ok(Self {
            target: obj.event_id("target")?,
            verdict: match obj.str("verdict")? {
                "confirmed" => Decision::Confirmed,
                "disputed" => Decision::Disputed,
                _ => return obj.fail("verdict", "must be confirmed or disputed"),
            },
            reason: obj.opt_text("reason", MAX_TEXT)?,
            over: obj.event_ids("over", MAX_OVER)?,
        })
    }
}
