//! A route, a role binding and a certificate changed through the API are in force on the edge within a second, with no
//! restart and without a failed request.
