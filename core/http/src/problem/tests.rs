//! The table of problems: each with its reason, and each limit where programs find it.

use alloc::string::ToString;

use super::*;

#[test]
fn refusals_have_a_reason_and_mistakes_have_none() {
    for (problem, reason) in [
        (Problem::Unauthorized, Some(Reason::Key)),
        (Problem::Draining, Some(Reason::Draining)),
        (Problem::PathEncoding, None),
        (Problem::Answer, None),
        (Problem::NoRoom, None),
        (Problem::NoNamespace, Some(Reason::Namespace)),
        (Problem::NamespaceLong, Some(Reason::Namespace)),
        (Problem::Page(PageError::NoHistory), Some(Reason::Policy)),
        (Problem::Namespaces(7), Some(Reason::Namespaces)),
        (NamedUserError::Untrusted.into(), Some(Reason::UserHeader)),
        (NamedUserError::Empty.into(), Some(Reason::UserHeader)),
        (Rejection::forbidden("x").into(), Some(Reason::Application)),
        (Rejection::internal().into(), None),
    ] {
        assert_eq!(problem.reason(), reason, "{problem:?}");
    }
}

#[test]
fn each_limit_is_in_the_text_and_in_the_details() {
    for (problem, code, limit) in [
        (Problem::NamespaceLong, ErrorCode::NotFound, 64),
        (Problem::PageLimit, ErrorCode::BadRequest, 1000),
        (Problem::CloseReason, ErrorCode::BadRequest, 123),
        (Problem::Key, ErrorCode::BadRequest, 128),
        (Problem::HeadTooLarge(8192), ErrorCode::HeadTooLarge, 8192),
        (Problem::TooManyHeaders(63), ErrorCode::HeadTooLarge, 63),
        (Problem::BodyTooLarge(77), ErrorCode::TooLarge, 77),
        (Problem::BodyLate(77), ErrorCode::Timeout, 77),
        (NamedUserError::Invalid.into(), ErrorCode::BadRequest, 200),
    ] {
        let row = (code, Some(Details::limit(limit)));
        assert_eq!(problem.row(), row, "{problem:?}");
        let text = problem.to_string();
        assert!(text.contains(&limit.to_string()), "{text}");
    }
    for problem in [
        Problem::Connections(7),
        Problem::ConnectionsPerAddress(7),
        Problem::ConnectionsPerUser(7),
        Problem::ConnectionsPerNamespace(7),
        Problem::Namespaces(7),
        Problem::Backend(Verdict::Overloaded(7)),
    ] {
        let row = (ErrorCode::Overloaded, Some(Details::limit(7)));
        assert_eq!(problem.row(), row, "{problem:?}");
    }
}
