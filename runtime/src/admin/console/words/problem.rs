//! What the console says of what was not done: by its kind, a title and an advice. The exact words of a problem are the API's.

use crate::admin::Problem;

words! {
    unauthenticated: "Log in first", "请先登录";
    unauthenticated_do: "Nobody is known by what the request brought.", "无法从请求中识别身份，请登录后重试。";
    forbidden: "This is not yours to do", "没有权限";
    forbidden_do: "Log in as somebody who may, or ask an administrator.", "请以有权限的身份登录，或联系管理员。";
    foreign: "The request comes from another site", "请求来自其他网站";
    foreign_do: "Nothing was done. Use the console's own pages.", "未执行任何操作。请使用本控制台自己的页面。";
    not_found: "There is no such thing", "不存在";
    not_found_do: "It may be gone by now, or the address is mistyped.", "它可能已不存在，或地址有误。";
    method: "Not in this way", "方法不允许";
    method_do: "Go back, and use what the page offers.", "请返回，使用页面提供的操作。";
    conflict: "It is not as it was", "状态已不符";
    conflict_do: "Nothing was done. Look at it again, then decide anew.", "未执行任何操作。请重新查看后再决定。";
    too_large: "This is too large", "内容过大";
    too_large_do: "Send less at a time.", "请减少每次发送的内容。";
    unreadable: "This cannot be read", "无法读取";
    unreadable_do: "Go back, and correct what is named here.", "请返回，更正以下所指之处。";
    refused: "This cannot be done so", "无法这样执行";
    refused_do: "Nothing was done. Go back, and correct what is named here.", "未执行任何操作。请返回，更正以下所指之处。";
    misdirected: "This server has another name", "服务器名称不符";
    misdirected_do: "Use the address that your administrator names.", "请使用管理员提供的地址。";
    too_many: "Too many tries", "尝试过于频繁";
    too_many_do: "Wait a little, then try again.", "请稍候再试。";
    unavailable: "Not now", "暂不可用";
    unavailable_do: "Try again in a moment.", "请稍后重试。";
    internal: "Something is broken here", "内部错误";
    internal_do: "Look whether it was done before you repeat it; the log says more.", "重试前请先确认是否已执行；详情见日志。";
}

impl Words {
    /// The title of such a problem, and what to do.
    pub fn of(&self, problem: &Problem) -> (&'static str, &'static str) {
        match problem.kind.rsplit(':').next().unwrap_or_default() {
            "unauthenticated" => (self.unauthenticated, self.unauthenticated_do),
            "forbidden" => (self.forbidden, self.forbidden_do),
            "foreign_origin" => (self.foreign, self.foreign_do),
            "not_found" => (self.not_found, self.not_found_do),
            "method_not_allowed" => (self.method, self.method_do),
            "conflict" => (self.conflict, self.conflict_do),
            "too_large" => (self.too_large, self.too_large_do),
            "invalid" | "unsupported_media_type" => (self.unreadable, self.unreadable_do),
            "refused" => (self.refused, self.refused_do),
            "misdirected" => (self.misdirected, self.misdirected_do),
            "too_many" => (self.too_many, self.too_many_do),
            "unavailable" => (self.unavailable, self.unavailable_do),
            _ => (self.internal, self.internal_do),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_problems_are_told_in_the_readers_words() {
        let invalid = Problem::invalid("", "");
        let others = [
            Problem::nobody(),
            Problem::forbidden("", ""),
            Problem::foreign("", ""),
            Problem::not_found("", ""),
            Problem::method("", ""),
            Problem::conflict("", ""),
            Problem::too_large("", ""),
            Problem::refused("", ""),
            Problem::misdirected("", ""),
            Problem::unavailable("", ""),
            Problem::too_many("", 1),
        ];
        let mut titles: Vec<_> = others.iter().map(|problem| CHINESE.of(problem).0).collect();
        assert!(!titles.contains(&CHINESE.internal), "each has words of its own: {titles:?}");
        titles.sort_unstable();
        titles.dedup();
        assert_eq!(titles.len(), others.len());
        assert_eq!(CHINESE.of(&invalid), CHINESE.of(&Problem::media("", "")));
        assert_eq!(ENGLISH.of(&Problem::internal("", "")).0, ENGLISH.internal);
    }
}
