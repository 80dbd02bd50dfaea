//! Routes of the console: each is registered together with what it needs, so that the list of them is complete.

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn};
use axum::routing::{MethodFilter, on};

use super::guard::{Access, guard};
use super::routes::Route;
use super::state::State;

/// A router and the list of its routes.
#[derive(Default)]
pub struct Pages {
    router: Router<State>,
    routes: Vec<Route>,
}

impl Pages {
    /// Something to look at.
    pub fn get<T: 'static>(self, path: &str, access: Access, handler: impl Handler<T, State>) -> Self {
        self.on(Method::GET, MethodFilter::GET, path, access, handler)
    }

    /// Something to do.
    pub fn post<T: 'static>(self, path: &str, access: Access, handler: impl Handler<T, State>) -> Self {
        self.on(Method::POST, MethodFilter::POST, path, access, handler)
    }

    /// These and others.
    pub fn merge(mut self, other: Self) -> Self {
        self.routes.extend(other.routes);
        Self { router: self.router.merge(other.router), routes: self.routes }
    }

    /// The router, and what is in it.
    pub fn into_parts(self) -> (Router<State>, Vec<Route>) {
        (self.router, self.routes)
    }

    fn on<T: 'static>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &str,
        access: Access,
        handler: impl Handler<T, State>,
    ) -> Self {
        let guarded =
            on(filter, handler).layer(from_fn(move |request: Request, next: Next| guard(access, request, next)));
        self.routes.push(Route { method, path: path.to_owned(), access });
        Self { router: self.router.route(path, guarded), routes: self.routes }
    }
}
