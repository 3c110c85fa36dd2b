-- Announces that everything that was removed until now is gone, by whomever; after announce.lua.
despite_full_memory()
return announce({})
