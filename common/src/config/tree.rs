//! Values in a tree, by keys like `worker.lease`.

use config::{Value, ValueKind};

/// Sets the innermost part of `key` that differs from the defaults back to them. False when none
/// does.
pub(super) fn set_back(tree: &mut Value, defaults: &Value, key: &str) -> bool {
    // An array is set back as a whole: the numbers of its elements stay what they are in the file.
    let mut key = key.split('[').next().unwrap_or(key);
    loop {
        match (get(tree, key), get(defaults, key)) {
            (Some(found), Some(default)) if found.kind != default.kind => {
                put(tree, key, default.clone());
                return true;
            }
            (Some(_), None) => return take(tree, key).is_some(),
            _ => {}
        }
        match key.rsplit_once('.') {
            Some((parent, _)) => key = parent,
            None => return false,
        }
    }
}

/// The value at `a.b[2].c`.
pub(super) fn get<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(tree, |value, part| {
        let mut names = part.split('[');
        let ValueKind::Table(table) = &value.kind else { return None };
        let found = table.get(names.next()?)?;
        names.try_fold(found, |value, index| {
            let ValueKind::Array(array) = &value.kind else { return None };
            array.get(index.trim_end_matches(']').parse::<usize>().ok()?)
        })
    })
}

/// The value at `a.b`; not inside arrays.
pub(super) fn get_mut<'a>(tree: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    key.split('.').try_fold(tree, |value, part| match &mut value.kind {
        ValueKind::Table(table) => table.get_mut(part),
        _ => None,
    })
}

/// Replaces the value at `a.b`, if there is one.
pub(super) fn put(tree: &mut Value, key: &str, value: Value) {
    if let Some(found) = get_mut(tree, key) {
        *found = value;
    }
}

/// Takes the value at `a.b` out.
pub(super) fn take(tree: &mut Value, key: &str) -> Option<Value> {
    let (table, name) = match key.rsplit_once('.') {
        Some((parent, name)) => (get_mut(tree, parent)?, name),
        None => (tree, key),
    };
    match &mut table.kind {
        ValueKind::Table(table) => table.remove(name),
        _ => None,
    }
}
