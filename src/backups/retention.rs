//! Retention: which sets stay and which may go, as a plan with a reason for each. Nothing here touches a disk.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::units;

/// How much is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The newest set of each of this many days.
    pub daily: usize,
    /// The newest set of each of this many weeks (Monday to Sunday, UTC).
    pub weekly: usize,
    /// The newest set of each of this many months.
    pub monthly: usize,
    /// The newest set of each of this many years.
    pub yearly: usize,
    /// All that is kept by these rules together; the oldest goes first.
    pub max_size: Option<u64>,
}

/// What retention knows of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// When it was taken.
    pub taken_at: Option<Timestamp>,
    /// Its bytes.
    pub size: u64,
    /// What it counts for.
    pub worth: Worth,
    /// Whether it stays for ever.
    pub pinned: bool,
    /// The names of its components: a set stands only for sets that hold no more than it does.
    pub components: BTreeSet<String>,
}

/// What a set counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// Whole, and its last verification passed.
    Verified,
    /// Whole, never verified.
    Whole,
    /// Whole by its metadata, but its last verification failed.
    Suspect,
    /// A component failed when it was made.
    Failed,
    /// It cannot be read.
    Unreadable,
}

/// What becomes of one set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Its name.
    pub name: String,
    /// Whether it stays.
    pub keep: bool,
    /// Why.
    pub reason: String,
}

/// Plans what becomes of each set, newest first.
///
/// Rules count sets, not age, so a clock that jumps ahead removes nothing. Sets of different components are judged apart: a
/// set stands only for those that hold no more than it does. Of each kind the newest verified set always stays, and so does
/// the newest whole one. What is dated in the future, cannot be read or failed its verification never takes the
/// place of a good one and is never removed here: an operator decides. A set that failed while it was made goes once a
/// whole one is newer.
pub fn plan(history: &[Candidate], policy: &Policy, now: Timestamp) -> Vec<Decision> {
    let mut sets: Vec<&Candidate> = history.iter().collect();
    sets.sort_by(|a, b| (b.taken_at, &b.name).cmp(&(a.taken_at, &a.name)));
    let mut reasons: Vec<Vec<String>> = vec![Vec::new(); sets.len()];
    let counts = |c: &Candidate| matches!(c.worth, Worth::Verified | Worth::Whole) && is_past(c, now);
    let good: Vec<usize> = (0..sets.len()).filter(|at| counts(sets[*at])).collect();

    let rules: [(&str, usize, &str); 4] = [
        ("day", policy.daily, "%Y-%m-%d"),
        ("week", policy.weekly, "%G-W%V"),
        ("month", policy.monthly, "%Y-%m"),
        ("year", policy.yearly, "%Y"),
    ];
    let kinds: BTreeSet<&BTreeSet<String>> = good.iter().map(|at| &sets[*at].components).collect();
    let mut always = Vec::new();
    for kind in kinds {
        // A newer dump of the database alone must not push out the set that also holds the models.
        let same: Vec<usize> = good.iter().copied().filter(|at| sets[*at].components.is_superset(kind)).collect();
        for (period, how_many, format) in rules {
            for (at, this) in newest_of_each(&sets, &same, how_many, format) {
                if sets[at].components == *kind {
                    reasons[at].push(format!("newest of {period} {this}"));
                }
            }
        }
        always.extend(same.first().map(|at| (*at, "the newest whole set always stays")));
        let verified = same.iter().find(|at| sets[**at].worth == Worth::Verified);
        always.extend(verified.map(|at| (*at, "the newest verified set always stays")));
    }
    let mut over = over_size(&sets, &reasons, policy, &always);
    let replaced = |at: usize| good.iter().any(|g| *g < at && sets[*g].components.is_superset(&sets[at].components));

    let decide = |(at, set): (usize, &&Candidate)| {
        let keep = |reason: String| Decision { name: set.name.clone(), keep: true, reason };
        let remove = |reason: String| Decision { name: set.name.clone(), keep: false, reason };
        match set.worth {
            _ if set.pinned => keep("pinned".into()),
            Worth::Unreadable => {
                keep("cannot be read and counts for nothing: look at it, then remove it by hand".into())
            }
            _ if !is_past(set, now) => keep("dated in the future and counts for nothing: check the clock".into()),
            Worth::Suspect => {
                keep("failed its verification and counts for nothing: look at it, then remove it by hand".into())
            }
            Worth::Failed if replaced(at) => remove("it is not whole, and a newer set is".into()),
            Worth::Failed => keep("not whole, but there is no newer whole set".into()),
            _ => match over.remove(&at) {
                Some(why) => remove(why),
                None if always.iter().any(|(a, _)| *a == at) => {
                    let why = always.iter().rev().find(|(a, _)| *a == at).map_or("", |(_, why)| why);
                    keep(why.to_owned())
                }
                None if reasons[at].is_empty() => remove("no rule keeps it".into()),
                None => keep(reasons[at].join(", ")),
            },
        }
    };
    sets.iter().enumerate().map(decide).collect()
}

/// Returns the newest set of each of the newest periods that have one, with the period's name.
fn newest_of_each(sets: &[&Candidate], of: &[usize], how_many: usize, format: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for at in of {
        let Some(time) = sets[*at].taken_at else { continue };
        let this = time.to_zoned(TimeZone::UTC).strftime(format).to_string();
        if found.len() < how_many && found.last().is_none_or(|(_, last)| *last != this) {
            found.push((*at, this));
        }
    }
    found
}

/// A set without a time has no place in the order.
fn is_past(set: &Candidate, now: Timestamp) -> bool {
    set.taken_at.is_some_and(|at| at.as_second() <= now.as_second() + 300)
}

/// Finds the sets that must go for the size, oldest first. Pinned sets count but stay; what counts for nothing does not
/// count here either, or junk would push good sets out.
fn over_size(
    sets: &[&Candidate],
    reasons: &[Vec<String>],
    policy: &Policy,
    always: &[(usize, &str)],
) -> std::collections::BTreeMap<usize, String> {
    let mut over = std::collections::BTreeMap::new();
    let Some(limit) = policy.max_size else { return over };
    let fixed = |at: usize| always.iter().any(|(a, _)| *a == at) || sets[at].pinned;
    let stays = |at: usize| !reasons[at].is_empty() || fixed(at);
    let of_worth = |at: usize| matches!(sets[at].worth, Worth::Verified | Worth::Whole);
    let size = |at: usize| u128::from(sets[at].size); // metadata may claim any size, and sums must not wrap around
    let mut total: u128 = (0..sets.len()).filter(|at| stays(*at) && of_worth(*at)).map(size).sum();
    for at in (0..sets.len()).rev() {
        let movable = !reasons[at].is_empty() && !fixed(at);
        if total > u128::from(limit) && movable {
            total -= size(at);
            over.insert(at, format!("all that is kept is more than {}", units::size(limit)));
        }
    }
    over
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-20T12:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    fn usual() -> Policy {
        Policy { daily: 7, weekly: 4, monthly: 3, yearly: 0, max_size: None }
    }

    fn at_hours_ago(hours: i64, worth: Worth) -> Candidate {
        let taken_at = Timestamp::from_second(now().as_second() - hours * 3600).unwrap();
        Candidate {
            name: format!("s{hours:06}"),
            taken_at: Some(taken_at),
            size: 10,
            worth,
            pinned: false,
            components: parts("database models"),
        }
    }

    fn parts(names: &str) -> BTreeSet<String> {
        names.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_set_of_the_database_alone_never_stands_for_a_whole_one() {
        let mut history: Vec<_> = (0..6).map(|hours| at_hours_ago(hours, Worth::Verified)).collect();
        history[0].components = parts("database");
        history[4].components = parts("database");
        let policy = Policy { daily: 1, weekly: 0, monthly: 0, yearly: 0, max_size: Some(0) };
        assert_eq!(kept(&plan(&history, &policy, now())), ["s000000", "s000001"]);
    }

    fn kept(plan: &[Decision]) -> Vec<&str> {
        plan.iter().filter(|d| d.keep).map(|d| d.name.as_str()).collect()
    }

    #[test]
    fn a_year_of_daily_sets_leaves_seven_days_four_weeks_three_months() {
        let history: Vec<_> = (0..365).map(|day| at_hours_ago(day * 24, Worth::Verified)).collect();
        let plan = plan(&history, &usual(), now());
        // Friday 20 November: seven days, the Sundays before them, the ends of October and September.
        let days: Vec<i64> = kept(&plan).iter().map(|n| n[1..].parse::<i64>().unwrap() / 24).collect();
        assert_eq!(days, [0, 1, 2, 3, 4, 5, 6, 12, 19, 20, 51]);
    }

    #[test]
    fn what_counts_for_nothing_neither_goes_nor_takes_a_place() {
        let mut future = at_hours_ago(-48, Worth::Verified);
        future.name = "future".into();
        let history = [
            future,
            at_hours_ago(1, Worth::Suspect),
            at_hours_ago(2, Worth::Unreadable),
            at_hours_ago(3, Worth::Failed),
            at_hours_ago(30, Worth::Whole),
            at_hours_ago(60, Worth::Verified),
            at_hours_ago(90, Worth::Failed),
        ];
        let policy = Policy { daily: 1, weekly: 0, monthly: 0, yearly: 0, max_size: Some(1) };
        let plan = plan(&history, &policy, now());
        assert_eq!(kept(&plan), ["future", "s000001", "s000002", "s000003", "s000030", "s000060"]);
        assert!(plan[6].reason.contains("not whole"), "{plan:?}");
    }

    #[test]
    fn the_size_takes_the_oldest_first_and_never_a_pin_or_the_newest_verified() {
        let mut history: Vec<_> = (0..6).map(|day| at_hours_ago(day * 24, Worth::Whole)).collect();
        history[3].worth = Worth::Verified;
        history[5].pinned = true;
        let policy = Policy { max_size: Some(40), ..usual() };
        assert_eq!(kept(&plan(&history, &policy, now())), ["s000000", "s000024", "s000072", "s000120"]);
        let tiny = Policy { max_size: Some(0), ..usual() };
        assert_eq!(kept(&plan(&history, &tiny, now())), ["s000000", "s000072", "s000120"]);
    }

    /// Numbers that look random and are the same in each run: a failing seed can be run again.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % sides
        }

        fn history(&mut self) -> Vec<Candidate> {
            let worths =
                [Worth::Verified, Worth::Whole, Worth::Whole, Worth::Suspect, Worth::Failed, Worth::Unreadable];
            let span = [30, 2_000, 20_000][self.roll(3) as usize];
            (0..self.roll(60))
                .map(|n| {
                    let mut set = at_hours_ago(self.roll(span) as i64 - 20, worths[self.roll(6) as usize]);
                    set.name = format!("{}-{n}", set.name);
                    set.size = self.roll(1_000);
                    set.pinned = self.roll(15) == 0;
                    set.components = parts(["database", "database models", "models"][self.roll(3) as usize]);
                    if set.worth == Worth::Unreadable && self.roll(2) == 0 {
                        set.taken_at = None;
                    }
                    set
                })
                .collect()
        }

        fn policy(&mut self) -> Policy {
            let mut upto = |n| self.roll(n) as usize;
            let (daily, weekly, monthly, yearly) = (upto(9), upto(6), upto(5), upto(3));
            let max_size = (self.roll(2) == 0).then(|| self.roll(20_000));
            Policy { daily, weekly, monthly, yearly, max_size }
        }
    }

    #[test]
    fn whatever_the_history_and_the_policy_the_promises_hold() {
        for seed in 1..=800 {
            let mut dice = Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
            let (history, policy) = (dice.history(), dice.policy());
            let plan = plan(&history, &policy, now());
            let told = || format!("seed {seed}: {policy:?} {history:#?} {plan:#?}");
            assert_eq!(plan.len(), history.len(), "{}", told());
            let keeps = |set: &Candidate| plan.iter().any(|d| d.name == set.name && d.keep);
            let good = |set: &&Candidate| matches!(set.worth, Worth::Verified | Worth::Whole) && is_past(set, now());
            for kind in history.iter().map(|set| &set.components) {
                let newest = |wanted: &dyn Fn(&&Candidate) -> bool| {
                    let same = history.iter().filter(|set| set.components.is_superset(kind)).filter(wanted);
                    same.max_by(|a, b| (a.taken_at, &a.name).cmp(&(b.taken_at, &b.name)))
                };
                let verified = newest(&|set| good(set) && set.worth == Worth::Verified);
                for always in [newest(&good), verified].into_iter().flatten() {
                    assert!(keeps(always), "{}", told());
                }
            }
            for set in &history {
                let untouchable = set.pinned
                    || matches!(set.worth, Worth::Unreadable | Worth::Suspect)
                    || set.taken_at.is_none_or(|at| at > now() + jiff::SignedDuration::from_mins(5));
                assert!(!untouchable || keeps(set), "{}", told());
            }
            let by_rule = plan.iter().filter(|d| d.keep && d.reason.starts_with("newest of")).count();
            assert!(by_rule <= 3 * (policy.daily + policy.weekly + policy.monthly + policy.yearly), "{}", told());
            assert!(plan.iter().all(|d| !d.reason.is_empty()), "{}", told());
            // What stays after one plan stays after the same plan again.
            let left: Vec<_> = history.iter().filter(|set| keeps(set)).cloned().collect();
            assert!(super::plan(&left, &policy, now()).iter().all(|d| d.keep), "{}", told());
        }
    }

    #[test]
    fn junk_never_pushes_a_good_set_out() {
        for seed in 1..=300 {
            let mut dice = Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
            let (history, policy) = (dice.history(), dice.policy());
            let good = |set: &Candidate| matches!(set.worth, Worth::Verified | Worth::Whole) && is_past(set, now());
            let clean: Vec<_> = history.iter().filter(|set| good(set)).cloned().collect();
            let alone = plan(&clean, &policy, now());
            let among = plan(&history, &policy, now());
            for decision in &alone {
                assert!(among.contains(decision), "seed {seed}: {decision:?}");
            }
        }
    }
}
