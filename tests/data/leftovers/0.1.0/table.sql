BEGIN TRANSACTION;
CREATE TABLE predictions (
	prediction_id TEXT NOT NULL, 
	event_id TEXT NOT NULL, 
	text_hash TEXT NOT NULL, 
	model_digest TEXT NOT NULL, 
	destination TEXT NOT NULL, 
	tag TEXT NOT NULL, 
	confidence FLOAT NOT NULL, 
	decider TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	epoch BIGINT NOT NULL, 
	decided_at BIGINT NOT NULL, 
	tagged_at BIGINT NOT NULL, 
	answer TEXT NOT NULL, 
	PRIMARY KEY (prediction_id)
);
INSERT INTO "predictions" VALUES('18373f4e-48dd-5a3a-b334-c72ebe255c0f','e-2','99974a1b02572814350db503a64f7548c4756e5a81cdeda60d7b4ff1618ffd2c','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','review','mlops',0.3547,'model',0,8,1700000000008,1700000000008,'{"id":"e-2","title":"maybe deployment","tag":"mlops","confidence":0.3547,"probabilities":{"natural-language-processing":0.2151,"computer-vision":0.2151,"mlops":0.3547,"other":0.2151},"prediction_id":"18373f4e-48dd-5a3a-b334-c72ebe255c0f","decider":"model","model":{"name":"tiny","version":"2","digest":"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff","epoch":"8","arm":"champion"},"threshold":0.7,"truncated":false,"reasons":["low_confidence"],"inclusion_probability":1.0,"tagged_at":"2023-11-14T22:13:20.008Z"}');
INSERT INTO "predictions" VALUES('84e1e862-6c1f-5c89-9c30-7b851bf683bc','e-1','99974a1b02572814350db503a64f7548c4756e5a81cdeda60d7b4ff1618ffd2c','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','tagged','computer-vision',0.2151,'reviewer',1,0,1700000060000,1700000061000,'{"id":"e-1","title":"maybe deployment","tag":"computer-vision","confidence":0.2151,"probabilities":{"natural-language-processing":0.2151,"computer-vision":0.2151,"mlops":0.3547,"other":0.2151},"prediction_id":"84e1e862-6c1f-5c89-9c30-7b851bf683bc","decider":"reviewer","model":{"name":"tiny","version":"1","digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"},"threshold":0.7,"truncated":false,"model_tag":"mlops","version":1,"decided_at":"2023-11-14T22:14:20.000Z","supersedes":"f42a19f0-1037-56df-96e8-804e15eb8b11","tagged_at":"2023-11-14T22:14:21.000Z"}');
INSERT INTO "predictions" VALUES('a3595a06-85df-52f6-9655-1e615c604e2f','e-2','99974a1b02572814350db503a64f7548c4756e5a81cdeda60d7b4ff1618ffd2c','eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','review','mlops',0.3547,'model',0,7,1700000000007,1700000000007,'{"id":"e-2","title":"maybe deployment","tag":"mlops","confidence":0.3547,"probabilities":{"natural-language-processing":0.2151,"computer-vision":0.2151,"mlops":0.3547,"other":0.2151},"prediction_id":"a3595a06-85df-52f6-9655-1e615c604e2f","decider":"model","model":{"name":"tiny","version":"2","digest":"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee","epoch":"7","arm":"champion"},"threshold":0.7,"truncated":false,"reasons":["low_confidence"],"inclusion_probability":1.0,"tagged_at":"2023-11-14T22:13:20.007Z"}');
INSERT INTO "predictions" VALUES('d612175a-a0f0-5498-a232-d6e487c35e0d','e-1','99974a1b02572814350db503a64f7548c4756e5a81cdeda60d7b4ff1618ffd2c','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','tagged','other',0.2151,'reviewer',2,0,1700000120000,1700000121000,'{"id":"e-1","title":"maybe deployment","tag":"other","confidence":0.2151,"probabilities":{"natural-language-processing":0.2151,"computer-vision":0.2151,"mlops":0.3547,"other":0.2151},"prediction_id":"d612175a-a0f0-5498-a232-d6e487c35e0d","decider":"reviewer","model":{"name":"tiny","version":"1","digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"},"threshold":0.7,"truncated":false,"model_tag":"mlops","version":2,"decided_at":"2023-11-14T22:15:20.000Z","supersedes":"84e1e862-6c1f-5c89-9c30-7b851bf683bc","tagged_at":"2023-11-14T22:15:21.000Z"}');
INSERT INTO "predictions" VALUES('f42a19f0-1037-56df-96e8-804e15eb8b11','e-1','99974a1b02572814350db503a64f7548c4756e5a81cdeda60d7b4ff1618ffd2c','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','review','mlops',0.3547,'model',0,0,1700003600000,1700003600000,'{"id":"e-1","title":"maybe deployment","tag":"mlops","confidence":0.3547,"probabilities":{"natural-language-processing":0.2151,"computer-vision":0.2151,"mlops":0.3547,"other":0.2151},"prediction_id":"f42a19f0-1037-56df-96e8-804e15eb8b11","decider":"model","model":{"name":"tiny","version":"1","digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"},"threshold":0.7,"truncated":false,"reasons":["low_confidence"],"inclusion_probability":1.0,"tagged_at":"2023-11-14T23:13:20.000Z"}');
CREATE TABLE predictions_positions (
	topic TEXT NOT NULL, 
	partition INTEGER NOT NULL, 
	next_offset BIGINT NOT NULL, 
	PRIMARY KEY (topic, partition)
);
INSERT INTO "predictions_positions" VALUES('review',1,6);
INSERT INTO "predictions_positions" VALUES('tagged',1,3);
CREATE INDEX predictions_text ON predictions (text_hash, model_digest, tagged_at);
CREATE INDEX predictions_event ON predictions (event_id);
CREATE VIEW predictions_newest AS SELECT ranked.prediction_id, ranked.event_id, ranked.text_hash, ranked.model_digest, ranked.destination, ranked.tag, ranked.confidence, ranked.decider, ranked.version, ranked.epoch, ranked.decided_at, ranked.tagged_at, ranked.answer 
FROM (SELECT predictions.prediction_id AS prediction_id, predictions.event_id AS event_id, predictions.text_hash AS text_hash, predictions.model_digest AS model_digest, predictions.destination AS destination, predictions.tag AS tag, predictions.confidence AS confidence, predictions.decider AS decider, predictions.version AS version, predictions.epoch AS epoch, predictions.decided_at AS decided_at, predictions.tagged_at AS tagged_at, predictions.answer AS answer, row_number() OVER (PARTITION BY predictions.event_id ORDER BY predictions.version DESC, predictions.epoch DESC, predictions.decided_at DESC, predictions.prediction_id DESC) AS place 
FROM predictions) AS ranked 
WHERE ranked.place = 1;
COMMIT;
