//! A Messages request becomes a Converse request.
