-- Announces that everything that was removed until now is gone, whatever removed it; after
-- announce.lua. Returns 'settled' with an announcement.
despite_full_memory()
return { 'settled', '', announce({}) }
