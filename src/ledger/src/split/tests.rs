#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use proptest::prelude::*;

fn people(n: usize) -> Vec<Person> {
    (0..n).map(|i| Person::from(format!("@p{i}:example.org"))).collect()
}

fn inputs(values: &[i128]) -> Vec<Input> {
    people(values.len()).into_iter().zip(values).map(|(who, value)| Input { who, value: *value }).collect()
}

fn amounts(method: Method, amount: i128, values: &[i128]) -> Vec<i128> {
    let result = shares(method, Amount(amount), &inputs(values), &[], "u1").unwrap();
    result.into_iter().map(|(_, a)| a.0).collect()
}

#[test]
fn a_dinner_for_three() {
    assert_eq!(amounts(Method::Equal, 8400, &[0, 0, 0]), [2800, 2800, 2800]);
}

#[test]
fn the_odd_cents_go_to_the_smallest_hashes() {
    let shares = amounts(Method::Equal, 100, &[0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(shares.iter().sum::<i128>(), 100);
    let mut order = people(7);
    order.sort_by_key(|p| tie("u1", p));
    for (rank, who) in order.iter().enumerate() {
        let i = people(7).iter().position(|p| p == who).unwrap();
        assert_eq!(shares[i], if rank < 2 { 15 } else { 14 });
    }
}

#[test]
fn larger_remainders_come_first() {
    // 100 by 50.5 : 25.25 : 24.25 percent leaves remainders .5, .25, .25.
    assert_eq!(amounts(Method::Percent, 100, &[505_000, 252_500, 242_500]), [51, 25, 24]);
}

#[test]
fn other_methods() {
    assert_eq!(amounts(Method::Exact, 100, &[70, 30, 0]), [70, 30, 0]);
    assert_eq!(amounts(Method::Shares, 900, &[20_000, 10_000, 0]), [600, 300, 0]);
    assert_eq!(amounts(Method::Adjustment, 1000, &[400, 0, 0]), [600, 200, 200]);
    assert_eq!(amounts(Method::Adjustment, 1000, &[-100, 0]), [450, 550]);
}

#[test]
fn an_itemised_bill_with_a_tip() {
    let p = people(3);
    let item = |amount: i128, who: &[usize]| Item {
        title: "x".to_owned(),
        amount: Amount(amount),
        who: who.iter().map(|i| p[*i].clone()).collect(),
    };
    let items = [item(2000, &[0]), item(1000, &[1]), item(3000, &[0, 1, 2])];
    let result = shares(Method::Itemised, Amount(6600), &[], &items, "u1").unwrap();
    assert_eq!(result, [(p[0].clone(), Amount(3300)), (p[1].clone(), Amount(2200)), (p[2].clone(), Amount(1100))]);
}

#[test]
fn what_cannot_be_split() {
    let fails =
        |method, amount, values: &[i128]| shares(method, Amount(amount), &inputs(values), &[], "u").unwrap_err().field;
    assert_eq!(fails(Method::Exact, 100, &[70, 31]), "split.inputs");
    assert_eq!(fails(Method::Exact, 100, &[-10, 110]), "split.inputs[0].value");
    assert_eq!(fails(Method::Percent, 100, &[500_000, 499_999]), "split.inputs");
    assert_eq!(fails(Method::Shares, 100, &[0, 0]), "split.inputs");
    assert_eq!(fails(Method::Adjustment, 100, &[500, 0]), "split.inputs[1].value");
    assert_eq!(fails(Method::Equal, 100, &[]), "split.inputs");
    assert_eq!(shares(Method::Itemised, Amount(1), &[], &[], "u").unwrap_err().field, "items");
}

#[test]
fn input_numbers() {
    assert_eq!(parse_input("33.3333"), Some(333_333));
    assert_eq!(parse_input("2"), Some(20_000));
    assert_eq!(parse_input("-1"), None);
    assert_eq!(parse_input("0.33333"), None);
    assert_eq!(parse_input("1000000001"), None);
}

#[test]
fn products_beyond_128_bits() {
    let (a, b, c) = (u128::MAX / 3, u128::MAX / 5, u128::MAX / 4);
    let (q, r) = mul_div(a, b, c);
    // a·b = q·c + r, checked modulo two primes by ordinary arithmetic.
    for m in [1_000_000_007_u128, 998_244_353] {
        let left = (a % m) * (b % m) % m;
        assert_eq!(left, ((q % m) * (c % m) % m + r % m) % m);
    }
    assert!(r < c);
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![Just(Method::Equal), Just(Method::Shares), Just(Method::Percent), Just(Method::Adjustment)]
}

proptest! {
    #[test]
    fn shares_add_up_and_have_the_amounts_sign(
        method in method(), amount in -1_000_000_i128..1_000_000, seed in "[a-z0-9]{1,8}",
        values in prop::collection::vec(0_i128..50_000, 1..12),
    ) {
        let values = match method {
            Method::Percent => {
                let mut rest = 1_000_000;
                let mut values: Vec<i128> = values.iter().map(|v| { let v = (*v).min(rest); rest -= v; v }).collect();
                *values.last_mut().unwrap() += rest;
                values
            }
            Method::Equal => vec![0; values.len()],
            _ => values,
        };
        if let Ok(result) = shares(method, Amount(amount), &inputs(&values), &[], &seed) {
            prop_assert_eq!(result.iter().map(|(_, a)| a.0).sum::<i128>(), amount);
            prop_assert!(result.iter().all(|(_, a)| a.signum() * amount.signum() >= 0));
        } else {
            prop_assert!(method == Method::Adjustment || values.iter().all(|v| *v == 0));
        }
    }

    #[test]
    fn a_refund_cancels_to_the_cent(
        amount in 1_i128..1_000_000, seed in "[a-z0-9]{1,8}", values in prop::collection::vec(1_i128..50_000, 1..12),
    ) {
        let there = shares(Method::Shares, Amount(amount), &inputs(&values), &[], &seed).unwrap();
        let back = shares(Method::Shares, Amount(-amount), &inputs(&values), &[], &seed).unwrap();
        for ((_, a), (_, b)) in there.iter().zip(&back) {
            prop_assert_eq!(*a + *b, Amount::ZERO);
        }
    }

    #[test]
    fn each_share_is_within_one_unit_and_order_does_not_matter(
        amount in 0_i128..1_000_000, values in prop::collection::vec(0_i128..50_000, 2..12), turn in 0_usize..12,
    ) {
        prop_assume!(values.iter().any(|v| *v > 0));
        let whole: i128 = values.iter().sum();
        let given = inputs(&values);
        let mut turned = given.clone();
        turned.rotate_left(turn % given.len());
        let result = shares(Method::Shares, Amount(amount), &given, &[], "u").unwrap();
        let again = shares(Method::Shares, Amount(amount), &turned, &[], "u").unwrap();
        for ((who, share), value) in result.iter().zip(&values) {
            prop_assert!((share.0 * whole - amount * value).abs() < whole);
            prop_assert_eq!(Some(share), again.iter().find(|(w, _)| w == who).map(|(_, a)| a));
        }
    }
}
