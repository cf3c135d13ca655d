//! Tables of a hub against each other.

use roomcast_core::Hub;

use super::violation::Violations;

/// Checks that memberships are symmetrical, that counters equal a recount, and that no room is
/// empty. Work: all rooms and memberships.
pub(super) fn check(hub: &Hub, violations: &mut Violations) {
    let counts = hub.counts();
    let (mut rooms, mut memberships) = (0, 0);
    for room in hub.rooms("", None) {
        let members = hub.members(room.name).len();
        (rooms, memberships) = (rooms + 1, memberships + members);
        if members != room.members {
            let text = format!("{} members are counted, not {members}", room.members);
            violations.add("I2", (None, room.name), text);
        }
    }
    let (mut connections, mut joined) = (0, 0);
    for connection in hub.connections() {
        connections += 1;
        for room in hub.rooms_of(connection.id).unwrap_or_default() {
            joined += 1;
            if hub.members(room).binary_search(&connection.id).is_err() {
                let text = "the room is among its rooms, and it is no member";
                violations.add("I1", (Some(connection.id), room), text);
            }
        }
    }
    if joined != memberships {
        let text = format!("rooms have {memberships} members, and connections {joined} rooms");
        violations.add("I1", (None, ""), text);
    }
    let counted = (counts.connections, counts.rooms, counts.memberships);
    if counted != (connections, rooms, memberships) {
        let text = format!(
            "{counted:?} connections, rooms and memberships are counted, not {:?}",
            (connections, rooms, memberships)
        );
        violations.add("I2", (None, ""), text);
    }
}
