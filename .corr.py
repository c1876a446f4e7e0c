import glob,os,io,numpy as np,soundfile as sf,soxr
from triptych.modalities.audio.examine import sketch
from triptych.modalities.audio.read import read
from triptych.data import near
root=os.path.expanduser('~/.cache/triptych/samples/digits-v1-audio.audio-image.image-text.text/')
def enc(x,rate,**k):
    b=io.BytesIO(); sf.write(b,x,rate,**k); return read(b.getvalue())
def changes(r):
    x,rate=r.samples_N,r.rate
    yield 'gain.2',(x*.2,rate)
    yield 'gain.02-16bit',(lambda q:(q.samples_N,q.rate))(enc(x*.02,rate,format='WAV',subtype='PCM_16'))
    o=enc(x,rate,format='OGG',subtype='VORBIS'); yield 'ogg',(o.samples_N,o.rate)
    try:
        o=enc(x,rate,format='MP3'); yield 'mp3',(o.samples_N,o.rate)
    except Exception as e: pass
    y=soxr.resample(x,rate,16000); yield '16k',(y,16000)
    y=soxr.resample(x,rate,8000); yield '8k',(y,8000)
    rng=np.random.default_rng(0); yield 'noise-40',(x+np.float32(.01*np.sqrt((x**2).mean()))*rng.standard_normal(len(x)).astype(np.float32),rate)
    yield 'cut10ms',(x[int(.01*rate):],rate)
def long(n):
    rng=np.random.default_rng(n); rate=22050; t=np.arange(8*rate)/rate
    x=sum(np.sin(2*np.pi*f*t)*np.interp(t,np.linspace(0,8,30),rng.random(30)) for f in rng.uniform(100,3500,6))*.1+rng.standard_normal(len(t))*.01
    return type('R',(),dict(samples_N=x.astype(np.float32),rate=rate))
for name,files in (('espeak',sorted(glob.glob(root+'audio/*.wav'))[::20]),('fsdd',sorted(glob.glob('/work/shared/data/fsdd/recordings/*.wav'))[::30]),('long',None)):
    rs=[read(f) for f in files] if files else [long(i) for i in range(20)]
    S=np.stack([np.frombuffer(sketch(r.samples_N,r.rate),np.uint8) for r in rs]); F=near.fingerprints(S)
    out={}
    for i,r in enumerate(rs):
        for n,(x,rate) in changes(r):
            s=np.frombuffer(sketch(np.ascontiguousarray(x,np.float32),rate),np.uint8)[None]
            out.setdefault(n,[]).append((near.correlation(S[i:i+1],s)[0],near.distance(F[i:i+1],near.fingerprints(s))[0]))
    for n,v in out.items():
        v=np.array(v); print(name,len(v),n,'corr min %.4f p10 %.4f med %.4f  ham max %d med %.0f'%(v[:,0].min(),np.quantile(v[:,0],.1),np.median(v[:,0]),v[:,1].max(),np.median(v[:,1])))
    A=S.astype(float)-S.mean(1,keepdims=True); A/=np.linalg.norm(A,axis=1,keepdims=True); C=A@A.T; np.fill_diagonal(C,0)
    print(name,'nearest other: med %.4f p90 %.4f max %.4f'%(np.median(C.max(1)),np.quantile(C.max(1),.9),C.max()))
rs=[read(f) for f in sorted(glob.glob(root+'audio/*.wav'))]+[read(f) for f in sorted(glob.glob('/work/shared/data/fsdd/recordings/*.wav'))]
S=np.stack([np.frombuffer(sketch(r.samples_N,r.rate),np.uint8) for r in rs]);
A=S.astype(float)-S.mean(1,keepdims=True); A/=np.linalg.norm(A,axis=1,keepdims=True); C=(A@A.T); np.fill_diagonal(C,0)
m=C.max(1)
for t in (.98,.985,.99,.993,.995,.997): print(t,(m[:1740]>t).sum(),(m[1740:]>t).sum())
