//! Why a call of the ERP did not do what it says, and how one call for many finds the bad ones.

use std::iter::repeat_n;

use engine::Fault;

/// How often the ERP may break off over single records before it is taken to be broken itself.
const MOST_BROKEN: usize = 3;

/// Why a call did not do what it says.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The ERP's own rules refuse it, in their own words. Nothing was changed.
    Refused {
        /// The name of the cause.
        cause: &'static str,
        /// What was asked, and the ERP's sentence.
        said: String,
    },
    /// Somebody changed the record after it was read. Nothing was changed.
    Stale {
        /// What was asked, and the ERP's sentence.
        said: String,
    },
    /// The ERP broke off in the middle, and took back what it had done.
    Broken(Fault),
    /// There is no such record, or no such database (404).
    Missing(Fault),
    /// Anything else.
    Fault(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { cause, said } => Self::data(cause, said),
            Failure::Stale { said } => Self::remote("tryton_changed", said),
            Failure::Broken(fault) | Failure::Missing(fault) | Failure::Fault(fault) => fault,
        }
    }
}

impl Failure {
    /// Whether one record of many can be the reason: all of the others would have passed.
    fn is_perhaps_of_one(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Stale { .. } | Self::Broken(_))
    }
}

/// What becomes of each item, where a call does all that it is given or nothing: at most `at_once` at
/// a time; a call that fails over what it was given is made again with each half, until what is bad
/// stands alone. What comes after a call that did not reach the ERP is not tried.
pub(super) async fn halved<T: Clone, R, F>(
    items: Vec<T>,
    at_once: usize,
    call: impl Fn(Vec<T>) -> F,
) -> Vec<Result<R, Failure>>
where
    F: Future<Output = Result<Vec<R>, Failure>>,
{
    let mut done = Vec::with_capacity(items.len());
    let mut left: Vec<&[T]> = items.chunks(at_once.max(1)).rev().collect();
    let mut broken = 0;
    while let Some(slice) = left.pop() {
        let failure = match call(slice.to_vec()).await {
            Ok(results) => {
                done.extend(results.into_iter().map(Ok));
                continue;
            }
            Err(failure) => failure,
        };
        let one = failure.is_perhaps_of_one() && broken < MOST_BROKEN;
        if one && slice.len() > 1 {
            let (first, second) = slice.split_at(slice.len() / 2);
            left.extend([second, first]);
            continue;
        }
        broken += usize::from(matches!(failure, Failure::Broken(_)));
        let count = if one { slice.len() } else { items.len() - done.len() };
        done.extend(repeat_n(failure, count).map(Err));
        if !one {
            break;
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn refused() -> Failure {
        Failure::Refused { cause: "tryton_refused", said: "no".to_owned() }
    }

    /// The calls of a number of items, and which of them passed.
    async fn calls(
        count: usize,
        fails: impl Fn(&[usize]) -> Option<Failure>,
    ) -> (usize, Vec<bool>) {
        let made = RefCell::new(0);
        let outcomes = halved((0..count).collect(), 50, async |slice: Vec<usize>| {
            *made.borrow_mut() += 1;
            fails(&slice).map_or(Ok(slice), Err)
        })
        .await;
        (made.into_inner(), outcomes.iter().map(Result::is_ok).collect())
    }

    #[tokio::test]
    async fn one_bad_of_fifty_stands_alone_after_a_dozen_calls() {
        let (made, passed) = calls(50, |slice| slice.contains(&17).then(refused)).await;
        assert_eq!(passed.iter().position(|passed| !passed), Some(17));
        assert_eq!(passed.iter().filter(|passed| !**passed).count(), 1);
        assert!(made <= 13, "{made}");
    }

    #[tokio::test]
    async fn an_erp_that_is_broken_or_away_is_not_asked_for_each() {
        let broken = || Failure::Broken(Fault::remote("tryton_500", "no"));
        let (made, passed) = calls(50, |_| Some(broken())).await;
        assert!(made < 20 && passed.len() == 50 && !passed.contains(&true), "{made} {passed:?}");
        let away = || Failure::Fault(Fault::remote("http_503", "no"));
        let (made, passed) = calls(120, |slice| (slice[0] >= 50).then(away)).await;
        assert_eq!((made, passed.iter().filter(|passed| **passed).count()), (2, 50));
    }
}
