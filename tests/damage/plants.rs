//! The catalogue of damages and what is expected of each, as the fixtures hold them.

/// One damage to a database.
pub(crate) struct Plant {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) sql: String,
    pub(crate) undo: Option<String>,
}

/// The levels that see a damage, and what their messages name; several names are separated by semicolons.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) levels: String,
    pub(crate) object: String,
}

const FILES: [&str; 2] = [include_str!("../fixtures/damages.txt"), include_str!("../fixtures/more_damages.txt")];
const EXPECTED: &str = include_str!("../fixtures/seen.txt");

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// Returns every damage, in order.
pub(crate) fn plants() -> Vec<Plant> {
    let parse = |line: &str| {
        let mut parts = line.split(" ## ");
        let (id, title) = parts.next().unwrap().split_once(' ').unwrap();
        let sql = parts.next().unwrap_or_else(|| panic!("{id} has no SQL"));
        Plant { id: id.into(), title: title.into(), sql: sql.into(), undo: parts.next().map(str::to_owned) }
    };
    FILES.iter().flat_map(|text| lines(text)).map(parse).collect()
}

/// Returns what is expected of a damage.
pub(crate) fn expected(id: &str) -> Option<Expected> {
    let line = lines(EXPECTED).find(|line| line.split(' ').next() == Some(id))?;
    let (head, object) = line.split_once(" | ").unwrap();
    let levels = head.split_once(' ').unwrap().1.to_owned();
    Some(Expected { levels, object: object.to_owned() })
}

#[test]
fn every_damage_has_one_expectation_and_a_name_of_its_own() {
    let ids: Vec<String> = plants().into_iter().map(|plant| plant.id).collect();
    let mut unique = ids.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), ids.len());
    let promised: Vec<_> = lines(EXPECTED).map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(promised, ids, "seen.txt has one line for each damage, in their order");
}
